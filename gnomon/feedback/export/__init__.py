"""Judgements to training data."""
