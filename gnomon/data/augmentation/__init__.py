"""Preferences made of other preferences: with answers of other prompts, by conclusion, in other words."""
