"""Gnomon turns human judgement into an aligned language model."""
