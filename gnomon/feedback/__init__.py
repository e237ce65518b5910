"""Judgements, agreement, aggregation."""
