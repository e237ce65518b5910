"""Published layouts of training rows: each is recognized as exactly one format, and images beside it are kept."""

from __future__ import annotations

import contextlib
import copy
import csv
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.storage.files import write_jsonl
from gnomon.data.formats.own_layout import GNOMON
from gnomon.data.formats.registry import RowLayout, find_format, recognize
from gnomon.data.inspection import inspect
from gnomon.data.record_rows import record_row
from gnomon.data.records import parse_record, prompt_of_record, read_records, record_media

USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}
HUMAN, GPT, OTHER = (
    {"from": author, "value": text} for author, text in (("human", "q"), ("gpt", "x"), ("gpt", "y"))
)
MARKED = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
PARTS = {"role": "assistant", "content": [{"type": "text", "value": "x"}], "loss_weight": 1.0}
OTHER_PARTS = {**PARTS, "content": "y"}
SAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("prompt-response", {"prompt": "q", "response": "x"}),
    ("prompt-response", {"question": "q", "answer": "x", "source": "s"}),
    ("prompt-response", {"query": "q", "response": "x", "label": True}),
    ("prompt-response", {"system": "s", "question": "q", "chosen": "x", "rejected": "y"}),
    ("prompt-response", {"system": "s", "input": "q", "chosen": "x", "rejected": "y", "rating": [9, 8]}),
    ("alpaca", {"instruction": "q", "input": "", "output": "x"}),
    ("alpaca", {"instruction": "q", "input": "i", "output": "x", "text": "### Instruction: q"}),
    ("alpaca", {"instruction": "q", "context": "c", "response": "x", "category": "open_qa"}),
    ("alpaca", {"id": "s1", "name": "n", "instruction": "q", "instances": [{"input": "", "output": "x"}]}),
    ("turns", {"question_id": 81, "category": "writing", "turns": ["q", "r"], "reference": ["x", "y"]}),
    ("sharegpt-pairs", {"prompt": "q", "chosen": [HUMAN, GPT], "rejected": [HUMAN, OTHER]}),
    ("turn-pairs", {"source": "s", "conversation": [{"input": "q", "output": "x"}]}),
    ("sharegpt", {"id": "a", "conversations": [HUMAN, GPT]}),
    ("chatml", {"text": f"{MARKED}x<|im_end|>\n"}),
    ("chatml", {"prompt": MARKED, "chosen": "x<|im_end|>", "rejected": "y<|im_end|>"}),
    ("chatml", {"conversation_id": "1", "model": "m", "conversation": [USER, ASSISTANT], "turn": 1}),
    ("llama-factory", {"instruction": "q", "input": "", "output": "x", "history": [["p", "o"]]}),
    ("llama-factory", {"instruction": "q", "input": "", "chosen": "x", "rejected": "y"}),
    ("llama-factory", {"conversations": [HUMAN], "chosen": GPT, "rejected": OTHER}),
    ("llama-factory", {"conversations": [HUMAN, GPT], "kto_tag": True}),
    ("llama-factory-v1", {"messages": [USER, PARTS]}),
    ("llama-factory-v1", {"chosen_messages": [USER, PARTS], "rejected_messages": [USER, OTHER_PARTS]}),
    ("openrlhf", {"context_messages": [USER], "dataset": "d"}),
    ("openrlhf", {"input": [USER], "output": [ASSISTANT]}),
    ("openrlhf", {"input": "q", "label": "4", "datasource": "math"}),
    ("hh-prompts", {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " x", "rejected": " y"}),
    ("implicit-prompt", {"chosen": "q is x", "rejected": "q is y"}),
    ("answer-lists", {"prompt": "q", "chosen": ["x"], "rejected": ["y", "z"]}),
]  # fmt: skip
OWN: list[dict[str, Any]] = [
    {"prompt": "q", "completion": "x"},
    {"prompt": "q", "chosen": "x", "rejected": "y"},
    {"prompt": "q", "completion": "x", "label": True},
    {"messages": [USER, ASSISTANT]},
    {"messages": [USER, ASSISTANT], "label": True},
    {"chosen": [USER, ASSISTANT], "rejected": [USER, {**ASSISTANT, "content": "y"}]},
    {"prompt": [USER]},
    {"id": "1", "messages": [USER], "answer": "4"},
    {"text": "x", "rating": 3},
]


@pytest.mark.parametrize(("name", "row"), SAMPLES)
def test_each_layout_is_one_format(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    match = recognize([row], tmp_path / "rows.jsonl")
    assert match is not None
    assert match.format.name == name


@pytest.mark.parametrize("row", OWN)
def test_gnomons_own_layout_is_none_of_them(tmp_path: Path, row: dict[str, Any]) -> None:
    assert recognize([row], tmp_path / "rows.jsonl") is None


@pytest.mark.parametrize(("name", "row"), SAMPLES)
def test_an_image_beside_the_columns_of_a_layout_stands_before_the_first_users_text(
    file_of: Callable[..., Path], name: str, row: dict[str, Any]
) -> None:
    inspection = inspect(file_of({**row, "images": ["photo.png"]}))
    assert inspection.records
    for record in inspection.records:
        assert [one.source for one in record_media(record)] == ["photo.png"]
        prompt = prompt_of_record(record)
        assert prompt is not None
        asked = next(turn for turn in prompt.messages if turn.role == "user")
        assert [(one.source, one.position) for one in asked.media] == [("photo.png", 0)]
    assert "images" not in inspection.unread


@pytest.mark.parametrize(("name", "row"), SAMPLES)
def test_converted_rows_hold_the_same_records(
    file_of: Callable[..., Path], tmp_path: Path, name: str, row: dict[str, Any]
) -> None:
    path, kinds = file_of(row), 0
    for kind in find_format(name).kinds:
        try:
            records: list[Any] = read_records(kind, path)
        except DataError:  # the sample has nothing of this kind
            continue
        own = tmp_path / "own.jsonl"
        write_jsonl(own, map(record_row, records))
        assert read_records(kind, own, layout=RowLayout.of(GNOMON)) == records
        kinds += 1
    assert kinds


def as_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as CSV, in which lists are JSON and what a row does not have is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [*names, "notes"], restval="")
        table.writeheader()
        table.writerows({k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()} for row in rows)
    return path


IN_TABLES = [(name, row) for name, row in SAMPLES if name != "answer-lists"]


@pytest.mark.parametrize(("name", "row"), IN_TABLES)
def test_tables_hold_the_same_records(
    file_of: Callable[..., Path], tmp_path: Path, name: str, row: dict[str, Any]
) -> None:
    lines, table = inspect(file_of(row)), inspect(as_table(tmp_path / "rows.csv", [row]))
    assert (table.kind, table.format, table.records) == (lines.kind, lines.format, lines.records)


def test_empty_cells_of_other_columns_change_nothing(tmp_path: Path) -> None:
    """A table with columns of several layouts is of the one whose cells are filled."""
    for row in ({"instruction": "q", "input": "i", "output": "x"}, {"question": "q", "answer": "x"}):
        empty = dict.fromkeys(("prompt", "history", "chosen", "query", "response"), "")
        inspection = inspect(as_table(tmp_path / "rows.csv", [{**empty, **row}]))
        assert inspection.kind.__name__ == "Demonstration"
        assert inspection.records[0].completion.text == "x"


ODD: list[Any] = [
    None,
    "",
    "x",
    -1.5,
    True,
    [],
    {},
    [None],
    [{}],
    ["x", 3],
    {"role": "user"},
    float("nan"),
    10**400,
]


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each nested value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield (*before, key)
        yield from paths(value[key], (*before, key))


@pytest.mark.parametrize(("name", "row"), SAMPLES)
def test_odd_values_are_read_or_refused(name: str, row: dict[str, Any]) -> None:
    """Whatever stands in place of any value, nothing but a DataError is raised."""
    form = find_format(name)
    for path, odd in itertools.product(paths(row), ODD):
        damaged = copy.deepcopy(row)
        owner = damaged
        for key in path[:-1]:
            owner = owner[key]
        owner[path[-1]] = odd
        form.evidence(damaged)
        assert form.kind_of([damaged]) in form.kinds
        for kind in form.kinds:
            for _, own in form.scan(kind, [("line 1", damaged), ("line 2", row)]):
                with contextlib.suppress(DataError):
                    parse_record(kind, own) if isinstance(own, dict) else None
