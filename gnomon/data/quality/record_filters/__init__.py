"""Filters that check each record alone, one file each."""
