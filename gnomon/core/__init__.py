"""Foundations shared by all packages: types, settings, errors, progress, files."""
