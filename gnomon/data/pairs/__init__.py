"""Preferences made of ratings, rankings, labels and other preferences, prompt by prompt."""
