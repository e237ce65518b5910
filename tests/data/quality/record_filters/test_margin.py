"""Margins of preferences."""

from __future__ import annotations

from quality_rows import pair, reasons


def test_a_margin_below_the_bound_is_found() -> None:
    assert reasons("margin", pair(margin=0.4), min_margin=0.5) == ["margin 0.4 is below 0.5"]
    assert reasons("margin", pair(margin=0.5), min_margin=0.5) == []
    assert reasons("margin", pair(), min_margin=0.5) == ["margin 0 is below 0.5"]
