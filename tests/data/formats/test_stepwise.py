"""Steps with labels: each labels the answer up to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnomon.core.types import Label
from gnomon.data.inspection import inspect


def row(*labels: Any) -> dict[str, Any]:
    return {"prompt": "1+2*3?", "completions": ["2*3=6.", "1+6=8."], "labels": list(labels)}


def test_each_label_is_of_the_answer_up_to_its_step(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(row(True, False), row(None, True)))
    assert inspection.kind is Label
    assert [(r.completion.text, r.good) for r in inspection.records] == [
        ("2*3=6.", True),
        ("2*3=6.\n1+6=8.", False),
        ("2*3=6.\n1+6=8.", True),
    ]


def test_labels_must_be_as_many_as_steps_and_true_or_false(rows_file: Callable[..., Path]) -> None:
    good = row(True, False), row(True, True)
    inspection = inspect(rows_file(*good, row(True), row(True, "ok"), row(None, None)))
    assert len(inspection.records) == 4
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons == [
        "it has 2 completions and 1 label",
        "labels is 'ok', neither true nor false",
        "none of its steps has a label",
    ]
