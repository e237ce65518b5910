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


def test_a_score_beside_a_response_can_be_two_things(rows_file: Callable[..., Path]) -> None:
    path = rows_file({**ROW, "score": 7})
    with pytest.raises(DataError, match=r"--format prompt-response.*--format ratings.*choose one"):
        inspect(path)
    (record,) = read_records(RatedText, path)
    assert record.ratings == (7,)


def test_a_completion_to_imitate_may_have_a_rating(rows_file: Callable[..., Path]) -> None:
    path = rows_file({"prompt": "Name a film.", "completion": "Ran.", "rating": 7})
    assert inspect(path).kind is Demonstration
    (record,) = read_records(RatedText, path, layout=RowLayout.of("ratings"))
    assert (record.text, record.ratings) == ("Ran.", (7,))


def test_several_raters_are_a_list(rows_file: Callable[..., Path]) -> None:
    rows = [
        {**ROW, "id": "x", "ratings": [1, "agree"], "raters": ["u", "v"]},
        {**ROW, "id": "y", "ratings": [1, 2], "raters": ["u"]},
        {**ROW, "ratings": [1, 2]},
    ]
    inspection = inspect(rows_file(*rows))
    assert (inspection.records[0].ratings, inspection.records[0].raters) == ((1, 4), ("u", "v"))
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons == ["it has 2 ratings and 1 raters", "ratings is a list, and the answer has no id"]


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
