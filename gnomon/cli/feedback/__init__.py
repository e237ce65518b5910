"""`gnomon feedback`: collect human judgements and export them as training data."""
