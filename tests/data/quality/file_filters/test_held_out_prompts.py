"""Prompts that are in held-out files."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import write_rows
from quality_rows import cleaned, pair

from gnomon.core.errors import DataError

QUESTION = "How many bridges cross the river between the mill and the harbour of the old town?"


def test_rows_with_a_held_out_prompt_are_dropped_whatever_their_answers(tmp_path: Path) -> None:
    held_out = tmp_path / "test.jsonl"
    write_rows(held_out, [{"prompt": "Who?"}, {"prompt": QUESTION}])
    rows = [pair(QUESTION, "Two."), pair(QUESTION.replace("?", " today?"), "Three."), pair("Who built them?")]
    result = cleaned(tmp_path, rows, {"held_out": {"files": [str(held_out)]}})
    assert result.why("held_out") == {
        "line 1": f"its prompt is 100% like line 2 of {held_out}",
        "line 2": f"its prompt is 91% like line 2 of {held_out}",
    }
    assert result.report.filters["held_out"].figures == {"held_out_prompts": 2}


def test_a_missing_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no held-out data at .*none\.jsonl"):
        cleaned(tmp_path, [pair()], {"held_out": {"files": [str(tmp_path / "none.jsonl")]}})
