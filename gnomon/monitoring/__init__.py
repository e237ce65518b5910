"""Monitoring of runs: metrics sent to trackers."""
