"""Tokenized data on disk: encoded once, memory-mapped, read example by example."""
