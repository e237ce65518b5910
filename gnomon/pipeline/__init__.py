"""A recipe: read, checked, planned, run."""
