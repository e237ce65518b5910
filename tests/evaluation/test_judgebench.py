"""JudgeBench: accuracy by category of the source, by hand."""

from __future__ import annotations

import pytest

from gnomon.core.errors import DataError
from gnomon.evaluation.judgebench import accuracy_by_category, category_of


def test_categories_of_sources() -> None:
    sources = ("mmlu-pro-computer science", "livebench-reasoning", "livebench-math", "livecodebench", "my own")
    assert [category_of(source) for source in sources] == ["Knowledge", "Reasoning", "Math", "Coding", ""]


def test_accuracies_by_hand() -> None:
    """Knowledge: right, equal (its verdicts contradict each other), wrong; Math: right. All: 2 of 4."""
    pairs = [("mmlu-pro-law", 2, 1), ("mmlu-pro-math", 1, 1), ("mmlu-pro-law", 0, 1), ("livebench-math", 0.5, 0)]
    shares, whole = accuracy_by_category(pairs)
    assert shares == {"Knowledge": pytest.approx(1 / 3), "Math": 1}
    assert whole == 0.5
    assert accuracy_by_category([]) == ({}, None)


def test_a_score_that_is_no_number() -> None:
    with pytest.raises(DataError, match="not a finite number"):
        accuracy_by_category([("livecodebench", float("nan"), 1)])
