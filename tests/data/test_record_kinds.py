"""The kind of a file is detected by its columns; unreadable rows are refused, not read as another kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import gnomon
from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Preference, Prompt, Ranking, RatedText
from gnomon.data.formats import registry
from gnomon.data.formats.registry import RowLayout, all_formats
from gnomon.data.inspection import inspect
from gnomon.data.record_kinds import has_columns_of, kind_of, kind_of_file
from gnomon.data.records import NAMES

TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "kind", "reason"),
    [
        ({"prompt": "a", "completion": "b", "label": "good"}, Label, "label is 'good', neither true nor false"),
        ({"prompt": "a", "completion": ["c", "d"]}, Demonstration, "completion is a list of 2 texts"),
        ({"prompt": "a", "chosen": 1, "rejected": "b"}, Preference, "1 is neither a text nor"),
        ({"prompt": "a", "completions": ["x", "y"], "n": [2, 9]}, Ranking, "the row has n, a number for"),
        ({"prompt": "a", "completions": ["x", "y"], "s": "[0.1, 0.2]"}, Ranking, "the row has s, a number for"),
        ({"prompt": "a", "completions": "x"}, Ranking, "completions is not a list"),
        ({"text": "a", "rating": "good"}, RatedText, "rating is not a finite number: 'good'"),
        ({"messages": "hello"}, Demonstration, "messages is not a list"),
        (
            {"messages": [*TURNS, {"role": "user", "content": "R"}]},
            Demonstration,
            "starts and ends with the assistant",
        ),
    ],
)
def test_unreadable_rows_are_refused_as_their_kind(
    tmp_path: Path, row: dict[str, Any], kind: type, reason: str
) -> None:
    """Every row fails for one reason: that reason is named once, with the first line."""
    with pytest.raises(DataError) as excinfo:
        inspect(written(tmp_path, row, row))
    message = str(excinfo.value)
    assert "all 2 rows are refused, 2 of them as line 1: " in message
    assert reason in message
    assert f"as {NAMES[kind]}, " in message
    assert kind_of([row], Path("x")) is kind


def test_messages_are_demonstrations_where_the_assistant_speaks() -> None:
    assert kind_of([{"messages": TURNS}], Path("x")) is Demonstration
    assert kind_of([{"messages": TURNS[:1]}], Path("x")) is Prompt
    assert kind_of([{"prompt": "Q", "completion": "", "label": ""}], Path("x")) is Demonstration


def test_a_file_is_one_of_the_kinds_that_a_command_reads(tmp_path: Path) -> None:
    path = written(tmp_path, {"messages": TURNS}, {"messages": TURNS})
    assert kind_of_file(path, (Demonstration, RatedText)) is Demonstration
    with pytest.raises(DataError, match="no row is one of preferences or rated texts; the keys are messages"):
        kind_of_file(path, (Preference, RatedText))


def test_inspection_continues_after_rows_that_the_template_refuses(tmp_path: Path, chat_tokenizer: Any) -> None:
    system = [{"role": "system", "content": "S"}, *TURNS]
    path = written(tmp_path, {"messages": system}, {"messages": TURNS}, {"messages": [{}]})
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    before = chat_tokenizer.chat_template
    try:
        chat_tokenizer.chat_template = refusing + before
        inspection = inspect(path, chat_tokenizer)
    finally:
        chat_tokenizer.chat_template = before
    assert [(r.where, "no system" in r.reason) for r in inspection.refused] == [
        ("line 1", True),
        ("line 3", False),
    ]
    assert (len(inspection.records), inspection.rows) == (1, 3)
    assert [one.tokens is not None for one in inspection.outlines] == [True]


CELLS: list[Any] = [None, "", "Q", "good", 1, True, TURNS, ["a", "b"]]
COLUMNS = ["prompt", "completion", "chosen", "rejected", "label", "messages", "completions", "text", "rating"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(CELLS)), min_size=1, max_size=5))
def test_no_row_is_lost_and_none_becomes_a_lesser_kind(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    """A row is one record or several, or refused; a record has the telling columns of its own kind."""
    path = written(tmp_path_factory.getbasetemp(), *rows)
    try:
        inspection = inspect(path)
    except DataError:
        return
    refused = {r.where for r in inspection.refused}
    read = {record.where.rpartition(", ")[2] for record in inspection.records}
    assert read | refused == {f"line {number}" for number in range(1, len(rows) + 1)}
    for number, row in enumerate(rows, start=1):
        if f"line {number}" not in refused:
            assert has_columns_of(inspection.kind, row)
            assert inspection.kind is not Demonstration or not has_columns_of(Label, row)


OTHER_CELLS = [
    *CELLS,
    [],
    ["a", 2],
    [TURNS, TURNS],
    [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}],
    [{"input": "Q", "output": "A"}],
    [{"rating": 3}],
    [{"selected": "left"}],
    {"rank": ["x"]},
    [{"id": "x", "body": "A"}, {"id": "y", "body": "B"}],
]
OTHER_COLUMNS = [
    "prompt", "question", "input", "output", "response", "answer", "instruction", "instances", "history", "turns",
    "conversations", "chosen", "rejected", "kto_tag", "label", "context_messages", "text", "rating", "weight",
    "conversation", "annotator", "annotation_id", "lead_time", "answer_0", "answer_1", "score_0", "score_1",
    "winner", "model_0", "completion", "score", "responses",
]  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(OTHER_COLUMNS), st.sampled_from(OTHER_CELLS)), min_size=2, max_size=4
    ),
    st.sampled_from(["", *all_formats()]),
)
def test_every_row_of_any_format_is_a_record_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], name: str
) -> None:
    """A row may hold several records, so rows are counted by their positions.

    There are two at least: a file of one object with a list of objects holds the rows of the list.
    """
    path = written(tmp_path_factory.getbasetemp(), *rows)
    try:
        inspection = inspect(path, layout=RowLayout.of(name))
    except DataError:
        return
    used = {record.where.removeprefix(f"{path}, ") for record in inspection.records}
    assert used | {row.where for row in inspection.refused} == {f"line {n}" for n in range(1, len(rows) + 1)}


TRANSCRIPT = "\n\nHuman: Why {n}?\n\nAssistant: So."


@pytest.mark.parametrize(
    "row",
    [{"chosen": TRANSCRIPT, "rejected": TRANSCRIPT + " No."}, {"prompt": "{n}", "chosen": "a", "rejected": "b"}],
    ids=["hh", "gnomon"],
)
def test_a_command_recognizes_its_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: dict[str, str]
) -> None:
    rows = [{key: text.replace("{n}", str(n)) for key, text in row.items()} for n in range(4)]
    looks: list[str] = []
    match = registry._match

    def counted(form: Any, given: Any) -> Any:
        looks.append(form.name)
        return match(form, given)

    monkeypatch.setattr(registry, "_match", counted)
    path, out = written(tmp_path, *rows), tmp_path / "out"
    out.mkdir()
    for command in (
        lambda: inspect(path),
        lambda: gnomon.data_convert(path, out / "trl.jsonl", to="trl"),
        lambda: gnomon.data_pairs(path, out / "pairs.jsonl"),
        lambda: gnomon.data_split(path, out, parts="train=0.5,test"),
        lambda: gnomon.data_clean(path, out / "clean.jsonl"),
    ):
        looks.clear()
        command()
        assert looks.count("hh") == 1
