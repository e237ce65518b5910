"""Cells that are JSON of messages are read as messages in every format; other texts stay as they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Preference, Prompt, Ranking
from gnomon.data.reading.row_fields import decode_cells
from gnomon.data.records import read_records

PROMPT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
CHOSEN, REJECTED = ([{"role": "assistant", "content": text}] for text in ("Hello", "No"))
ROW: dict[str, Any] = {"prompt": PROMPT, "chosen": CHOSEN, "rejected": REJECTED}


def written(folder: Path, name: str, row: dict[str, Any]) -> Path:
    """The row, with its lists as JSON text."""
    cells, path = (
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()},
        folder / name,
    )
    if name == "folder":
        import datasets

        datasets.Dataset.from_list([cells]).save_to_disk(str(path))
    elif name.endswith("parquet"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([cells]), path)
    elif name.endswith(("jsonl", "json")):
        path.write_text(json.dumps(cells if name.endswith("l") else [cells]), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(cells), delimiter="\t" if name.endswith("tsv") else ",")
            writer.writeheader()
            writer.writerow(cells)
    return path


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.jsonl", "r.json", "r.parquet", "folder"])
def test_every_format_holds_conversations_as_json(tmp_path: Path, name: str) -> None:
    (record,) = read_records(Preference, written(tmp_path, name, ROW))
    assert [(m.role, m.content) for m in record.prompt.messages] == [("system", "Be kind."), ("user", "Hi")]
    assert (record.chosen.text, record.rejected.text) == ("Hello", "No")


def test_single_messages_and_alternatives_are_read_from_json_too(tmp_path: Path) -> None:
    row = {"prompt": PROMPT[1], "completions": json.dumps([json.dumps(CHOSEN), REJECTED, "text"])}
    (record,) = read_records(Ranking, written(tmp_path, "r.csv", row))
    assert [one.text for one in record.completions] == ["Hello", "No", "text"]


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        '["a", "b"]',
        '{"name": "x"}',
        "[role] Play a knight",
        "{",
        '[{"a": 1}]',
        "[]",
        " [x](y)",
        '{"text": "a"}',
    ],
)
def test_other_texts_stay_texts(tmp_path: Path, text: str) -> None:
    (record,) = read_records(Demonstration, written(tmp_path, "r.csv", {"prompt": text, "completion": text}))
    assert (record.prompt.messages[0].content, record.completion.text) == (text, text)
    row = {"prompt": text}
    assert decode_cells(row) is row


def test_json_of_messages_is_learned_as_text_inside_a_message(tmp_path: Path) -> None:
    inner = json.dumps(PROMPT)
    row = {"prompt": "Write JSON.", "completion": [{"role": "assistant", "content": inner}]}
    (record,) = read_records(Demonstration, written(tmp_path, "r.csv", row))
    assert record.completion.text == inner


@pytest.mark.parametrize(
    "cell", [str(PROMPT), "[{'content': 'Hi', 'role': 'user'}]", '[{"role": "user", "content": "Hi"']
)
@pytest.mark.parametrize("key", ["prompt", "messages"])
def test_broken_json_of_messages_is_refused(tmp_path: Path, cell: str, key: str) -> None:
    path = written(tmp_path, "r.csv", {key: cell})
    with pytest.raises(DataError, match=rf"r\.csv, line 2: {key} starts like a list of messages but is not JSON"):
        read_records(Prompt, path)


def test_turns_of_from_and_value_in_a_cell_are_no_text() -> None:
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    row = {"chosen": json.dumps(turns), "prompt": json.dumps([{"from": "here", "to": "there"}])}
    assert decode_cells(row) == {"chosen": turns, "prompt": row["prompt"]}
