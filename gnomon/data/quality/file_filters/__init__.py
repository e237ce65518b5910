"""Filters that compare the records of a file, one file each."""
