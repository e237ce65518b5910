"""RM-Bench and JudgeBench rows as preferences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gnomon.core.types import Preference
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


def test_each_style_of_the_right_answer_is_preferred_to_each_wrong_one(rows_file: Callable[..., Path]) -> None:
    row = {"id": "1", "prompt": "Why?", "chosen": ["a", "b", "c"], "rejected": ["x", "y", "a"], "domain": "chat"}
    records = read_records(Preference, rows_file(row))
    pairs = [(one.chosen.text, one.rejected.text) for one in records]
    assert pairs == [(c, r) for c in "abc" for r in "xya" if (c, r) != ("a", "a")]
    assert {one.weight for one in records} == {1 / 8}
    assert {one.prompt.messages[0].content for one in records} == {"Why?"}


def test_a_row_with_equal_answers_is_unused(rows_file: Callable[..., Path]) -> None:
    same = {"prompt": "q", "chosen": ["a"] * 3, "rejected": ["a"] * 3, "domain": "math"}
    inspection = inspect(rows_file({**same, "rejected": ["b"] * 3}, same))
    assert [one.reason for one in inspection.refused] == ["both answers are the same"]


def test_judgebench_is_read_as_comparisons(rows_file: Callable[..., Path]) -> None:
    row = {
        **{"pair_id": "1", "original_id": "2", "source": "mmlu-pro-law", "question": "q", "response_model": "m"},
        **{"response_A": "a", "response_B": "b", "label": "B>A"},
    }
    (record,) = read_records(Preference, rows_file(row))
    assert (record.chosen.text, record.rejected.text) == ("b", "a")
