"""Rewards that recipes know by name: one file each."""
