"""Mappings of columns: paths, choices, replacements, constants, and their errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from project import Run, write_rows

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Demonstration, Label, Preference, RatedText
from gnomon.data.formats.columns import Columns, parse_columns, path_of
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import inspect
from gnomon.data.record_kinds import kind_of_file
from gnomon.data.records import read_records

VOTE = {
    "prompt": "conversations[0].value",
    "chosen": {"by": "label", "A": "response_A", "B": "response_B", "tie": None},
    "rejected": {"by": "label", "A": "response_B", "B": "response_A", "tie": None},
}


def battle(label: str) -> dict[str, Any]:
    return {"conversations": [{"value": "Q"}], "label": label, "response_A": "a", "response_B": "b"}


def test_the_value_of_a_column_chooses_the_sides(tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    write_rows(file, [battle("A"), battle("B"), battle("tie")])
    layout = RowLayout.of(columns=VOTE)
    assert kind_of_file(file, layout=layout) is Preference
    records = read_records(Preference, file, layout=layout)
    assert [(r.prompt.messages[0].content, r.chosen.text, r.rejected.text) for r in records] == [
        ("Q", "a", "b"),
        ("Q", "b", "a"),
    ]
    (unused,) = inspect(file, layout=layout).refused
    assert (unused.where, unused.reason) == ("line 3", "label is 'tie'")
    write_rows(file, [battle("A"), battle("C")])
    with pytest.raises(DataError, match=r"votes\.jsonl, line 2: label is 'C', which columns does not map"):
        read_records(Preference, file, layout=layout)


@pytest.mark.parametrize(
    ("columns", "row", "value"),
    [
        ({"prompt": "q", "completion": "a[-1]"}, {"q": "Q", "a": ["x", "y"]}, "y"),
        ({"prompt": "q", "completion": '"a.b".c'}, {"q": "Q", "a.b": {"c": "z"}}, "z"),
        ({"prompt": "q", "completion": "a.t"}, {"q": "Q", "a": '{"t": "in JSON"}'}, "in JSON"),
        ({"prompt": {"constant": "Q"}, "completion": "提示.文本"}, {"提示": {"文本": "好"}}, "好"),
    ],
)
def test_paths_reach_into_a_row(tmp_path: Path, columns: dict[str, Any], row: dict[str, Any], value: str) -> None:
    file = tmp_path / "rows.jsonl"
    write_rows(file, [row])
    (record,) = inspect(file, layout=RowLayout.of(columns=columns)).records
    assert isinstance(record, Demonstration)
    assert (record.prompt.messages[0].content, record.completion.text) == ("Q", value)


def test_values_are_replaced_by_a_table(tmp_path: Path) -> None:
    """YAML reads the keys yes and 1 as true and a number; a CSV file has texts."""
    file = tmp_path / "votes.csv"
    file.write_text("q,a,thumb,stars\nQ,x,1,4\nQ,y,0,2\n", encoding="utf-8")
    columns = parse_columns(["prompt=q", "completion=a", "label={of: thumb, 1: true, 0: false}"])
    labels = inspect(file, layout=RowLayout.of(columns=columns)).records
    assert [(type(one), one.good) for one in labels] == [(Label, True), (Label, False)]
    (rated, _) = inspect(file, layout=RowLayout.of(columns={"text": "a", "rating": "stars", "id": "a"})).records
    assert isinstance(rated, RatedText)
    assert rated.ratings == (4.0,)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "columns is empty"),
        ({"promt": "q"}, "columns: 'promt' is no key of a record; did you mean 'prompt'"),
        ({"response": "q"}, "columns: 'response' is no key of a record; it is called 'completion'"),
        ({"context": "q"}, "columns: 'context' is no key of a record; it is called 'prompt'"),
        ({"prompt": 3}, "columns.prompt is 3, neither a column nor a mapping"),
        ({"prompt": "a..b"}, "'a..b' is no path"),
        ({"prompt": "a[x]"}, r"'a\[x\]' is no path"),
        ({"prompt": ""}, "columns.prompt is empty"),
        ({"prompt": {"by": "label"}}, "a mapping has constant alone, or by or of"),
        ({"prompt": {"by": "label", "of": "x", "A": "a"}}, "a mapping has constant alone, or by or of"),
        ({"prompt": {"by": "label", "A": 3}}, "columns.prompt: 3 is no column"),
    ],
)
def test_wrong_mappings_are_refused(columns: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Columns(columns)


def test_a_missing_value_is_refused_with_its_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_rows(file, [{"q": "Q", "a": "x"}, {"q": "Q", "a": None}])
    layout = RowLayout.of(columns={"prompt": "q", "completion": "a", "system": "s"})
    result = inspect(file, layout=layout)
    assert len(result.records) == 1
    assert [(one.where, one.reason) for one in result.refused] == [
        ("line 2", "completion is nothing: 'a' is missing or null")
    ]


def test_a_path_is_parsed() -> None:
    assert path_of('a.b[0][-1]."c.d"[2].e', "x") == ("a", "b", 0, -1, "c.d", 2, "e")


def test_options_and_files_hold_mappings(tmp_path: Path) -> None:
    options = ["prompt=messages[0].content", "chosen={by: label, A: a, B: b}"]
    assert parse_columns(options) == {
        "prompt": "messages[0].content",
        "chosen": {"by": "label", "A": "a", "B": "b"},
    }
    file = tmp_path / "columns.yaml"
    file.write_text("prompt: q\ncompletion: a\n", encoding="utf-8")
    assert parse_columns([str(file)]) == {"prompt": "q", "completion": "a"}
    for wrong, words in (
        (["prompt=q", "chosen"], "is no KEY=COLUMN"),
        (["chosen={by: [}"], "is not YAML"),
        ([str(tmp_path / "absent.yaml")], "no mapping of columns at"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse_columns(wrong)


def test_the_command_reads_and_converts_by_a_mapping(tmp_path: Path, gnomon: Run) -> None:
    file = tmp_path / "votes.jsonl"
    write_rows(file, [battle("A"), battle("tie")])
    columns = [
        "--columns", "prompt=conversations[0].value",
        "--columns", "chosen={by: label, A: response_A, B: response_B, tie: null}",
        "--columns", "rejected={by: label, A: response_B, B: response_A, tie: null}",
    ]  # fmt: skip
    result = gnomon("data", "inspect", str(file), *columns, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["format"], report["kind"], report["used"]) == ("rows of your mapping", "preferences", 1)
    assert report["not_used"] == [{"where": "line 2", "reason": "label is 'tie'"}]
    out = tmp_path / "pairs.jsonl"
    result = gnomon("data", "convert", str(file), *columns, "--to", "gnomon", "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert "1 preference in" in result.stdout
    (record,) = read_records(Preference, out)
    assert (record.chosen.text, record.rejected.text) == ("a", "b")
    rejected = [json.loads(line) for line in (tmp_path / "pairs.rejected.jsonl").read_text("utf-8").splitlines()]
    assert rejected == [{"where": "line 2", "reason": "label is 'tie'"}]
    again = gnomon("data", "convert", str(file), *columns, "--to", "gnomon", "--out", str(out))
    assert (again.returncode, "exists; give another --out, or --overwrite." in again.stderr) == (2, True)


def test_a_key_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="--columns names prompt twice"):
        parse_columns(["prompt=a", "prompt=b", "completion=c"])
    with pytest.raises(ConfigError, match="'prompt' is no KEY=COLUMN"):
        parse_columns(["prompt"])
