"""Completions to judge."""
