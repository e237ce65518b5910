"""Encoders with a classifier as reward models: scored as transformers computes them, not trained."""
