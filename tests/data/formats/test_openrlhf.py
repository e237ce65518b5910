"""OpenRLHF's rows, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.types import Demonstration, Preference, Prompt
from gnomon.data.conversion import convert_file
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import Inspection
from gnomon.data.records import read_records

Inspected = Callable[..., Inspection]
FileOf = Callable[..., Path]
USER, ASSISTANT = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}


def test_context_messages_are_prompts(inspected: Inspected) -> None:
    inspection = inspected({"context_messages": [USER, ASSISTANT, USER], "dataset": "mine"})
    (prompt,) = inspection.records
    assert inspection.kind is Prompt
    assert [turn.role for turn in prompt.messages] == ["user", "assistant", "user"]
    assert inspection.unread == ("dataset",)


def test_an_input_with_a_label_and_a_source_is_a_prompt_with_its_answer(inspected: Inspected) -> None:
    inspection = inspected({"input": "6 · 7?", "label": "42", "datasource": "math"})
    assert inspection.kind is Prompt
    assert (inspection.records[0].answer, inspection.records[0].columns["datasource"]) == ("42", "math")


@pytest.mark.parametrize(
    "row",
    [
        {"input": [USER], "output": [ASSISTANT]},
        {"input": [USER], "output": "A"},
        {"input": [USER, ASSISTANT]},
        {"input": [USER, ASSISTANT], "output": None},
    ],
)
def test_an_answer_stands_under_output_or_at_the_end_of_input(inspected: Inspected, row: dict[str, Any]) -> None:
    inspection = inspected(row)
    (record,) = inspection.records
    assert inspection.kind is Demonstration
    assert (record.prompt.messages[0].content, record.completion.text) == ("Q", "A")


def test_pairs_of_a_context(inspected: Inspected) -> None:
    (record,) = inspected(
        {"context_messages": [USER], "chosen": "A", "rejected": [ASSISTANT | {"content": "B"}]}
    ).records
    assert (record.prompt.messages[0].content, record.chosen.text, record.rejected.text) == ("Q", "A", "B")


ROWS: dict[type, list[dict[str, Any]]] = {
    Prompt: [{"id": "7", "prompt": "6 · 7?", "answer": "42"}, {"id": "8", "prompt": [USER, ASSISTANT, USER]}],
    Preference: [{"prompt": "Q", "chosen": "A", "rejected": "B", "margin": 2.0, "probability": 0.75}],
    Demonstration: [
        {"prompt": [USER, ASSISTANT, USER], "completion": "B", "weight": 0.5},
        {"messages": [USER, ASSISTANT, USER, ASSISTANT]},
    ],
}


@pytest.mark.parametrize("kind", ROWS)
def test_written_rows_are_read_back_as_the_same_records(file_of: FileOf, tmp_path: Path, kind: type) -> None:
    source, written = file_of(*ROWS[kind]), tmp_path / "written.jsonl"
    assert convert_file(source, written, "openrlhf", layout_of(kind)).rejected_file is None
    assert read_records(kind, written) == read_records(kind, source)


def layout_of(kind: type) -> RowLayout:
    return RowLayout.of("gnomon" if kind is Prompt else "")


def test_single_answers_have_the_keys_of_openrlhfs_loader(file_of: FileOf, tmp_path: Path) -> None:
    convert_file(file_of(ROWS[Demonstration][0]), tmp_path / "out.jsonl", "openrlhf")
    row = json.loads((tmp_path / "out.jsonl").read_text("utf-8"))
    assert row["input"] == [USER, ASSISTANT, USER]
    assert row["output"] == [{"role": "assistant", "content": "B"}]
