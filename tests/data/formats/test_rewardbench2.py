"""RewardBench 2: every right answer against every wrong one, and ties among the right ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnomon.core.types import Preference
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


def row(subset: str, chosen: list[str], rejected: list[str]) -> dict[str, Any]:
    counts = {"num_correct": len(chosen), "num_incorrect": len(rejected)}
    return {"id": "1", "prompt": "A color?", "chosen": chosen, "rejected": rejected, **counts, "subset": subset}


def test_each_right_answer_is_preferred_to_each_wrong_one(rows_file: Callable[..., Path]) -> None:
    records = read_records(Preference, rows_file(row("Math", ["red"], ["dog", "cat", "cow", "red"])))
    assert [(r.chosen.text, r.rejected.text) for r in records] == [("red", "dog"), ("red", "cat"), ("red", "cow")]
    assert {round(r.weight, 4) for r in records} == {0.3333}


def test_right_answers_of_the_ties_subset_are_equal(rows_file: Callable[..., Path]) -> None:
    records = read_records(Preference, rows_file(row("Ties", ["red", "blue"], ["dog"])))
    pairs = [(r.chosen.text, r.rejected.text, r.probability) for r in records]
    assert pairs == [("red", "dog", 1), ("blue", "dog", 1), ("red", "blue", 0.5)]


def test_a_row_without_wrong_answers_is_unused(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(row("Math", ["red"], ["dog"]), row("Math", ["red"], [])))
    assert [one.reason for one in inspection.refused] == ["one of its lists is empty"]
