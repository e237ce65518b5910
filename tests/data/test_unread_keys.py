"""Unread keys of a file, including nested ones, are tracked and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.progress import console
from gnomon.core.types import Demonstration, Label, Preference
from gnomon.data.inspection import inspect
from gnomon.data.reported_rows import read_reported

PAIR = {"prompt": "Q", "chosen": "a", "rejected": "b"}
SHAREGPT = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_unread_keys_are_listed_with_their_parents(tmp_path: Path) -> None:
    """Empty cells say nothing, and so do ids and what Gnomon's own exports note for themselves."""
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Q", "name": "Ann"},
        {"role": "assistant", "content": "A"},
    ]
    rows = [
        {"id": 7, "messages": turns, "score": 3, "note": "", "items": [1]},
        {"messages": turns, "wieght": 2, "meta": {"a": 1}},
    ]
    assert inspect(written(tmp_path, *rows)).unread == (
        "score",
        "messages.name",
        "wieght (did you mean weight?)",
        "meta",
    )


def test_a_row_that_is_read_completely_has_no_unread_keys(tmp_path: Path) -> None:
    row = {
        "prompt": {"id": "p", "messages": [{"role": "user", "content": "Q"}], "answer": None},
        "chosen": {"id": "a", "text": "A", "source": "x"},
        "rejected": {"id": "b", "text": "B", "source": ""},
        "probability": 0.75, "margin": 1.0, "weight": 1.0, "items": [3],
    }  # fmt: skip
    assert inspect(written(tmp_path, row)).unread == ()


@pytest.mark.parametrize("kind", [Demonstration, Label])
def test_a_command_reports_it_once(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    row = {"prompt": "Q", "completion": "A", "model": "m", **({"label": 1} if kind is Label else {})}
    lines: list[str] = []
    monkeypatch.setattr(console, "print", lambda line, **_: lines.append(line))
    path = written(tmp_path, row, row)
    read_reported(kind, path)
    assert lines == [f"{path}: read as {kind.__name__.lower()}s; not read: model"]


def test_no_line_is_printed_without_unread_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "print", lambda *_, **__: pytest.fail("nothing was left unread"))
    read_reported(Preference, written(tmp_path, {"prompt": "Q", "chosen": "a", "rejected": "b"}))


@pytest.mark.parametrize(
    ("row", "unread"),
    [
        ({"prompt": "Q", "completion": "A", "lable": True}, "lable (did you mean label?)"),
        ({**PAIR, "probabilty": 0.9}, "probabilty (did you mean probability?)"),
        ({"prompt": "Q", "response": "A", "wieght": 2}, "wieght (did you mean weight?)"),
        ({**PAIR, "wieght": 2, "weight": 1}, "wieght"),
        ({**PAIR, "ratings": [1]}, "ratings"),
        ({"prompt": "Q", "completion": "A", "margn": 3}, "margn"),
        ({"conversations": SHAREGPT, "message_id": 4}, "message_id"),
        ({"conversations": SHAREGPT, "prompt_id": 4}, "prompt_id"),
    ],
)
def test_a_similar_key_is_named_only_if_it_would_be_read_and_no_row_has_it(
    tmp_path: Path, row: dict[str, Any], unread: str
) -> None:
    assert inspect(written(tmp_path, row)).unread == (unread,)
