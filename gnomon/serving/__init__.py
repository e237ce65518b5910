"""Scores and decisions of a reward over HTTP, for trainers and other programs."""
