"""The loop over stored examples."""
