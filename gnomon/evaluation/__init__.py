"""Policies and reward models examined; the report."""
