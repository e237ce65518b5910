"""Splits of data files without leaks between the parts."""
