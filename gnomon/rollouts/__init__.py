"""Samplers, and rollouts to experience."""
