"""Single answers: numbers, words of a scale, several raters, thumbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, RatedText
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import inspect
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.record_kinds import unread_keys
from gnomon.data.records import read_records

ROW = {"prompt": "Name a film.", "response": "Ran."}


@pytest.mark.parametrize(
    ("cell", "value"), [(7, 7.0), ("8.5", 8.5), ("Strongly agree", 5.0), ("very  poor", 1.0), ("一般", 3.0)]
)
def test_numbers_and_words_of_a_scale_are_ratings(
    rows_file: Callable[..., Path], cell: Any, value: float
) -> None:
    inspection = inspect(rows_file({**ROW, "rating": cell, "annotator": "u1"}))
    assert inspection.kind is RatedText
    (record,) = inspection.records
    assert (record.text, record.ratings, record.raters) == ("Ran.", (value,), ("u1",))
    assert [turn.content for turn in record.prompt.messages] == ["Name a film."]


@pytest.mark.parametrize("answer", ["response", "completion"])
@pytest.mark.parametrize("column", ["score", "rating", "quality"])
def test_a_number_in_each_row_beside_an_answer_is_its_rating(
    rows_file: Callable[..., Path], answer: str, column: str
) -> None:
    path = rows_file(*({"prompt": "Name a film.", answer: "Ran.", column: n} for n in (7, "2.5")))
    inspection = inspect(path)
    assert inspection.kind is RatedText
    assert [record.ratings for record in inspection.records] == [(7,), (2.5,)]
    assert inspection.unread == ()


@pytest.mark.parametrize(("answer", "own"), [("response", "prompt-response"), ("completion", "gnomon")])
def test_where_a_row_has_no_number_both_readings_are_named(
    rows_file: Callable[..., Path], answer: str, own: str
) -> None:
    row = {"prompt": "Name a film.", answer: "Ran."}
    path = rows_file({**row, "score": 7}, {**row, "score": None})
    with pytest.raises(DataError) as excinfo:
        inspect(path)
    for part in (f"--format {own})", "--format ratings)", "choose one"):
        assert part in str(excinfo.value)
    assert inspect(path, layout=RowLayout.of(own)).kind is Demonstration
    assert inspect(path, layout=RowLayout.of("ratings")).refused[0].reason == "it has no rating"


@pytest.mark.parametrize("answer", ["response", "completion"])
def test_a_stage_that_imitates_reads_rated_answers_as_demonstrations(
    rows_file: Callable[..., Path], answer: str
) -> None:
    keys = KeysRead()
    path = rows_file({"prompt": "Name a film.", answer: "Ran.", "score": 7})
    (record,) = read_records(Demonstration, path, keys)
    assert (record.completion.text, unread_keys(keys)) == ("Ran.", ("score",))


def test_a_rated_completion_with_a_label_stays_a_label(rows_file: Callable[..., Path]) -> None:
    path = rows_file({"prompt": "Name a film.", "completion": "Ran.", "label": True, "score": 7})
    assert (inspect(path).kind, inspect(path).unread) == (Label, ("score",))


def test_quality_in_words_of_no_scale_is_no_rating(rows_file: Callable[..., Path]) -> None:
    path = rows_file({"prompt": "Name a film.", "completion": "Ran.", "quality": "checked"})
    assert (inspect(path).kind, inspect(path).unread) == (Demonstration, ("quality",))


def test_several_raters_are_a_list(rows_file: Callable[..., Path]) -> None:
    rows = [
        {**ROW, "id": "x", "ratings": [1, "agree"], "raters": ["u", "v"]},
        {**ROW, "id": "y", "ratings": [1, 2], "raters": ["u"]},
        {**ROW, "ratings": [1, 2]},
    ]
    inspection = inspect(rows_file(*rows))
    assert (inspection.records[0].ratings, inspection.records[0].raters) == ((1, 4), ("u", "v"))
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons == ["it has 2 ratings and 1 rater", "ratings is a list, and the answer has no id"]


def test_an_unknown_word_is_refused(rows_file: Callable[..., Path]) -> None:
    good = {**ROW, "rating": 3}
    inspection = inspect(rows_file(good, good, {**ROW, "rating": "meh"}, {**ROW, "rating": None}))
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons == ["rating is 'meh', neither a number nor a word of a known scale", "it has no rating"]


@pytest.mark.parametrize(
    ("column", "cell", "good"),
    [
        ("thumbs", "up", True),
        ("feedback", "👎", False),
        ("thumbs_up", True, True),
        ("thumbs_up", 0, False),
        ("vote", -1, False),
        ("reaction", "Like", True),
    ],
)
def test_thumbs_are_labels(rows_file: Callable[..., Path], column: str, cell: Any, good: bool) -> None:
    inspection = inspect(rows_file({**ROW, column: cell}))
    assert inspection.kind is Label
    assert [(r.completion.text, r.good) for r in inspection.records] == [("Ran.", good)]


def test_thumbs_of_a_conversation(rows_file: Callable[..., Path]) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    (record,) = read_records(Label, rows_file({"messages": turns, "thumbs": "down"}))
    assert (record.prompt.messages[0].content, record.completion.text, record.good) == ("Hi", "Hello!", False)


def test_unknown_thumbs_are_refused_and_missing_ones_unused(rows_file: Callable[..., Path]) -> None:
    up = {**ROW, "thumbs": "up"}
    inspection = inspect(rows_file(up, up, {**ROW, "thumbs": "sideways"}, {**ROW, "thumbs": None}))
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons == ["thumbs is 'sideways', neither thumbs up nor down", "nobody gave it a thumb"]
