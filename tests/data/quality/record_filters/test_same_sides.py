"""Equal completions of one record."""

from __future__ import annotations

from quality_rows import pair, reasons

from gnomon.core.types import Ranking


def test_sides_are_compared_in_normal_form_and_otherwise_exactly() -> None:
    assert reasons("same_sides", pair(chosen="caf\u00e9", rejected="cafe\u0301")) == [
        "chosen and rejected are equal"
    ]
    assert reasons("same_sides", pair(chosen="Yes", rejected="Yes ")) == []
    assert reasons("same_sides", pair(chosen="Yes", rejected="yes")) == []


def test_a_ranking_with_two_equal_completions_is_found() -> None:
    row = {"prompt": "Why?", "completions": ["a", "b", "a"]}
    assert reasons("same_sides", row, Ranking) == ["rank 1 and rank 3 are equal"]
