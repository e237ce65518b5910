"""Computation of networks: layouts, caches, packed weights, devices."""
