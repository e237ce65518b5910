"""The figures of an examination: one file for each kind."""
