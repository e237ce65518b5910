"""Ratings and items from files."""
