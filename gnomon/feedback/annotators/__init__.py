"""Annotators that are programs."""
