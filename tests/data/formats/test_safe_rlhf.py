"""SafeRLHF: two verdicts, of which the user chooses one; labels by safety."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Label, Preference
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

ROW = {
    "prompt": "How do I open a window?",
    "response_0": "By its handle.",
    "response_1": "With a stone.",
    "is_response_0_safe": True,
    "is_response_1_safe": False,
    "better_response_id": 1,
    "safer_response_id": 0,
}


def test_without_a_choice_both_readings_are_named(rows_file: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"--format safe-rlhf-better.*--format safe-rlhf-safer.*choose one"):
        inspect(rows_file(ROW))


@pytest.mark.parametrize(("name", "chosen"), [("better", "With a stone."), ("safer", "By its handle.")])
def test_the_chosen_verdict_decides(rows_file: Callable[..., Path], name: str, chosen: str) -> None:
    (record,) = read_records(Preference, rows_file(ROW), layout=RowLayout.of(f"safe-rlhf-{name}"))
    assert record.chosen.text == chosen


def test_labels_are_the_answers_safety(rows_file: Callable[..., Path]) -> None:
    records = read_records(Label, rows_file(ROW))
    assert [(r.completion.text, r.good) for r in records] == [("By its handle.", True), ("With a stone.", False)]


@pytest.mark.parametrize("verdict", [2, True, "b"])
def test_an_unknown_verdict_is_refused(rows_file: Callable[..., Path], verdict: Any) -> None:
    path = rows_file({**ROW, "safer_response_id": verdict})
    with pytest.raises(DataError, match=r"line 1: safer_response_id is .*, neither 0 nor 1"):
        read_records(Preference, path, layout=RowLayout.of("safe-rlhf-safer"))
