"""Code that runs without Gnomon: it is copied into exported folders, and imports transformers alone."""
