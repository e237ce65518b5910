"""How far length predicts labels."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from quality_rows import cleaned, pair

from gnomon.data.quality.file_filters.length_bias import auc

OFF = {"near_duplicates": "off", "duplicates": "off", "contradictions": "off", "degenerate": "off"}


def test_auc_by_hand() -> None:
    labels = np.array([True, False, True, False])
    assert auc(np.array([2.0, 1.0, 3.0, 0.0]), labels) == 1.0
    assert auc(np.array([2.0, 3.0, 1.0, 0.0]), labels) == 0.5  # 2>0, 1>0 of four pairs
    assert auc(np.array([1.0, 1.0, 1.0, 1.0]), labels) == 0.5
    assert np.isnan(auc(np.array([1.0]), np.array([True])))


def measured(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(cleaned(folder, rows, OFF).report.filters["length_bias"].figures)


def test_longer_is_better_is_found_and_random_lengths_are_not(tmp_path: Path) -> None:
    draw = Random(0)
    longer = [pair(f"q{n}", "x" * draw.randint(50, 90), "x" * draw.randint(10, 45)) for n in range(400)]
    figures = measured(tmp_path, longer)
    assert figures["auc"] == pytest.approx(1.0)
    assert figures["low"] > 0.95
    report = cleaned(tmp_path, longer, OFF).report
    assert report.parts["unbiased"] < 0.1
    random = [pair(f"q{n}", "x" * draw.randint(10, 90), "x" * draw.randint(10, 90)) for n in range(400)]
    figures = measured(tmp_path, random)
    assert figures["low"] < 0.5 < figures["high"]


def test_labels_that_length_predicts_are_found_also_if_shorter_is_better(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": "x" * (20 + n % 50), "label": n % 50 < 25} for n in range(400)]
    assert measured(tmp_path, rows)["auc"] > 0.95


def test_few_records_are_not_fitted(tmp_path: Path) -> None:
    assert measured(tmp_path, [pair(f"q{n}") for n in range(10)]) == {"auc": None}
