"""Readers of files and tables, and parsers of their rows to records."""
