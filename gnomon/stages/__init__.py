"""Kinds of stages: their settings, and how each runs."""
