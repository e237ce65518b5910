"""Filters of records, one file each."""
