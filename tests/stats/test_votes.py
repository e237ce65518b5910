from __future__ import annotations

import pytest

from gnomon.core.errors import DataError
from gnomon.stats.votes import Vote, in_order, latest


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"seconds": -1.0}, "'kim' on item 7 took -1.0 seconds"),
        ({"seconds": float("nan")}, "took nan seconds"),
        ({"when": float("inf")}, "has the time inf"),
        ({"chosen_length": 3}, "length of one answer only"),
    ],
)
def test_impossible_facts_are_refused(facts: dict[str, float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Vote("kim", 7, "a", **facts)  # type: ignore[arg-type]


def test_latest_is_one_voice_a_person_and_item() -> None:
    old, new = Vote("kim", 1, "a", when=5.0), Vote("kim", 1, "b", when=9.0)
    other_item, other_person = Vote("kim", 2, "a"), Vote("lee", 1, "a")
    assert latest([new, other_item, old, other_person]) == [new, other_item, other_person]
    same_time = [Vote("kim", 1, "a"), Vote("kim", 1, "b")]
    assert latest(same_time) == same_time[1:]


def test_order_depends_on_the_values_alone() -> None:
    assert in_order([10, 9, 10, 2]) == [2, 9, 10]
    assert in_order(["tie", "a", 3, None, ("x", 1)]) == in_order([("x", 1), None, "a", 3, "tie"])
