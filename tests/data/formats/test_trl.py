"""Records as TRL's documentation has them, and rows written for TRL, which its own functions read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from trl import data_utils

from gnomon.core.types import Demonstration, Label, Preference, Prompt
from gnomon.data.conversion import convert_file
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import Inspection
from gnomon.data.records import read_records

Inspected = Callable[..., Inspection]
FileOf = Callable[..., Path]
ASKED = [{"role": "user", "content": "Name a river."}]
SPREE, MOON = ([{"role": "assistant", "content": text}] for text in ("The Spree.", "The moon."))


def contents(turns: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in turns]


@pytest.mark.parametrize(
    ("row", "kind", "answers"),
    [
        ({"prompt": "Name a river."}, Prompt, []),
        ({"prompt": ASKED}, Prompt, []),
        ({"prompt": "Name a river.", "completion": "The Spree."}, Demonstration, ["The Spree."]),
        ({"prompt": ASKED, "completion": SPREE}, Demonstration, ["The Spree."]),
        ({"messages": [*ASKED, *SPREE]}, Demonstration, ["The Spree."]),
        (
            {"prompt": "Name a river.", "chosen": "The Spree.", "rejected": "The moon."},
            Preference,
            ["The Spree.", "The moon."],
        ),
        ({"prompt": ASKED, "chosen": SPREE, "rejected": MOON}, Preference, ["The Spree.", "The moon."]),
        ({"chosen": [*ASKED, *SPREE], "rejected": [*ASKED, *MOON]}, Preference, ["The Spree.", "The moon."]),
        (
            {"prompt": "Name a river.", "chosen": [*ASKED, *SPREE], "rejected": [*ASKED, *MOON]},
            Preference,
            ["The Spree.", "The moon."],
        ),
        ({"prompt": "Name a river.", "completion": "The moon.", "label": False}, Label, ["The moon."]),
        ({"prompt": ASKED, "completion": MOON, "label": False}, Label, ["The moon."]),
    ],
)
def test_each_type_of_row_is_read_as_its_kind(
    inspected: Inspected, row: dict[str, Any], kind: type, answers: list[str]
) -> None:
    inspection = inspected(row)
    (record,) = inspection.records
    assert (inspection.kind, inspection.unread) == (kind, ())
    prompt = record if kind is Prompt else record.prompt
    assert contents(prompt.messages) == [("user", "Name a river.")]
    if kind is Preference:
        assert [record.chosen.text, record.rejected.text] == answers
    elif kind is not Prompt:
        assert [record.completion.text] == answers
    assert getattr(record, "good", False) is False


def test_answers_that_differ_in_the_end_alone_stay_different(inspected: Inspected) -> None:
    """TRL cuts texts at characters, where "Yes " and "No " both become " "."""
    turns = [{"role": "user", "content": "Yes or no?"}]
    yes, no = ([*turns, {"role": "assistant", "content": text}] for text in ("Yes ", "No "))
    (record,) = inspected({"chosen": yes, "rejected": no}).records
    assert (record.chosen.text, record.rejected.text) == ("Yes ", "No ")


RICH = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "花样年华?"},
]
ROWS: dict[type, list[dict[str, Any]]] = {
    Prompt: [{"id": "7", "prompt": RICH, "answer": "42"}, {"id": "8", "prompt": "Q", "answer": "1"}],
    Demonstration: [
        {"prompt": RICH, "completion": " 好 \n", "weight": 0.5},
        {"messages": [*RICH, {"role": "assistant", "content": "A", "reasoning_content": "hm"}]},
    ],
    Preference: [
        {"prompt": RICH, "chosen": "", "rejected": "B", "margin": 1.5, "probability": 0.75, "weight": 2.0},
        {"prompt": "Q", "chosen": SPREE, "rejected": [*MOON, *ASKED, *SPREE]},
    ],
    Label: [
        {"prompt": RICH, "completion": "A", "label": True},
        {"prompt": "Q", "completion": "B", "label": False},
    ],
}


def written(kind: type, file_of: FileOf, tmp_path: Path) -> tuple[Path, Path]:
    source, path = file_of(*ROWS[kind]), tmp_path / "trl.jsonl"
    layout = RowLayout.of("gnomon" if kind is Prompt else "")
    assert convert_file(source, path, "trl", layout).rejected_file is None
    return source, path


@pytest.mark.parametrize("kind", ROWS)
def test_written_rows_are_read_back_as_the_same_records(file_of: FileOf, tmp_path: Path, kind: type) -> None:
    source, path = written(kind, file_of, tmp_path)
    assert read_records(kind, path) == read_records(kind, source)
    assert read_records(kind, path, layout=RowLayout.of("trl")) == read_records(kind, source)


@pytest.mark.parametrize("kind", ROWS)
def test_trls_own_functions_read_what_is_written(
    file_of: FileOf, tmp_path: Path, kind: type, chat_tokenizer: Any
) -> None:
    _, path = written(kind, file_of, tmp_path)
    data = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    records: list[Any] = read_records(kind, path)
    assert len(data) == len(records)
    for row, record in zip(data, records, strict=True):
        assert data_utils.is_conversational(row)
        assert data_utils.maybe_extract_prompt(row) == row  # the prompt is explicit
        rendered = data_utils.maybe_apply_chat_template(row, chat_tokenizer)
        prompt = record if kind is Prompt else record.prompt
        assert prompt.messages[-1].content in rendered["prompt"]
        if kind is Preference:
            assert record.chosen.text in rendered["chosen"]
            assert record.rejected.text.split("\n")[0] in rendered["rejected"]
        elif kind is not Prompt:
            answers = [turn.content for turn in record.completion.turns or ()] or [record.completion.text]
            assert all(answer.strip() in rendered["completion"] for answer in answers)
    if kind is Preference:
        unpaired = data_utils.maybe_unpair_preference_dataset(data)
        assert unpaired["label"] == [True, True, False, False]


def test_turns_that_trl_would_learn_though_they_are_not_to_be_learned_are_listed(
    file_of: FileOf, tmp_path: Path
) -> None:
    turns = [*ASKED, {**MOON[0], "train": False}, *ASKED, *SPREE]
    result = convert_file(
        file_of({"messages": [*ASKED, *SPREE]}, {"messages": turns}), tmp_path / "x.jsonl", "trl"
    )
    (listed,) = [json.loads(line) for line in result.rejected_file.read_text("utf-8").splitlines()]  # type: ignore[union-attr]
    assert listed["where"] == "line 2"
    assert listed["reason"].startswith("TRL rows have no marks of turns")
