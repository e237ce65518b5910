"""Sources to records, records to batches."""
