"""Votes: checks of their fields, the latest of each annotator, and the order of values."""

from __future__ import annotations

import pytest

from gnomon.core.errors import DataError
from gnomon.stats.votes import Vote, latest, sorted_distinct


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seconds": -1.0}, "'kim' on item 7 took -1.0 seconds"),
        ({"seconds": float("nan")}, "took nan seconds"),
        ({"when": float("inf")}, "has the time inf"),
        ({"confidence": 1.5}, "has the confidence 1.5; pass a number from 0 to 1"),
        ({"chosen_length": 3}, "length of one completion only"),
    ],
)
def test_vote_refuses_impossible_fields(fields: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Vote("kim", 7, "a", **fields)  # type: ignore[arg-type]


def test_latest_returns_one_vote_per_annotator_and_item() -> None:
    old, new = Vote("kim", 1, "a", when=5.0), Vote("kim", 1, "b", when=9.0)
    other_item, other_person = Vote("kim", 2, "a"), Vote("lee", 1, "a")
    assert latest([new, other_item, old, other_person]) == [new, other_item, other_person]
    same_time = [Vote("kim", 1, "a"), Vote("kim", 1, "b")]
    assert latest(same_time) == same_time[1:]


def test_sorted_distinct_depends_on_the_values_alone() -> None:
    assert sorted_distinct([10, 9, 10, 2]) == [2, 9, 10]
    assert sorted_distinct(["tie", "a", 3, None, ("x", 1)]) == sorted_distinct([("x", 1), None, "a", 3, "tie"])
