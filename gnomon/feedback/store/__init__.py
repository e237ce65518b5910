"""The database of judgements."""
