"""Algorithms compared at equal budget."""
