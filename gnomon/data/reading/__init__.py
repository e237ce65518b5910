"""Files and tables to records."""
