"""Recipes: load, check, estimate and run them."""
