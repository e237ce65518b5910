"""Caps and weights of categories."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from quality_rows import cleaned, pair

from gnomon.core.errors import DataError

ROWS = [pair(f"question {n} of its own {n * 7919}", topic="math" if n < 6 else "law") for n in range(8)]
OFF = {"near_duplicates": "off"}


def test_a_cap_drops_records_of_large_categories_whatever_their_order(tmp_path: Path) -> None:
    filters = {**OFF, "balance": {"column": "topic", "cap": 3}}
    result = cleaned(tmp_path, ROWS, filters)
    assert Counter(row["topic"] for row in result.clean) == {"math": 3, "law": 2}
    assert set(result.why("balance").values()) == {"category “math” has 6 records, more than 3"}
    again = cleaned(tmp_path, ROWS[::-1], filters)
    assert {row["prompt"]["id"] for row in again.clean} == {row["prompt"]["id"] for row in result.clean}
    choices = set()
    for seed in range(5):
        seeded = cleaned(tmp_path, ROWS, {**OFF, "balance": {"column": "topic", "cap": 3, "seed": seed}})
        choices.add(frozenset(row["prompt"]["id"] for row in seeded.clean))
    assert len(choices) > 1


def test_weights_give_each_category_the_same_sum_and_keep_given_weights(tmp_path: Path) -> None:
    rows = [{**row, "weight": 2.0} for row in ROWS]
    result = cleaned(tmp_path, rows, {**OFF, "balance": {"column": "topic", "by": "weight"}})
    weights = {row["topic"]: row["weight"] for row in result.clean}
    assert weights == {"math": pytest.approx(2 * 8 / 12), "law": pytest.approx(2 * 8 / 4)}


def test_the_default_cap_is_the_median_size_and_a_path_reaches_into_objects(tmp_path: Path) -> None:
    rows = [
        pair(f"question {n} of its own {n * 7919}", meta={"topic": "abc"[n % 3 if n < 6 else 0]})
        for n in range(9)
    ]
    result = cleaned(tmp_path, rows, {**OFF, "balance": {"column": "meta.topic"}})
    assert Counter(row["meta"]["topic"] for row in result.clean) == {"a": 2, "b": 2, "c": 2}


def test_a_column_that_no_row_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no record has 'subject'"):
        cleaned(tmp_path, ROWS, {"balance": {"column": "subject"}})
