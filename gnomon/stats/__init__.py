"""Statistics of judgements, in NumPy alone."""
