"""Argilla exports in their four layouts: only submitted responses count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking, RatedText
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

FIELDS = {"prompt": "Name a film.", "response-1": "Ran.", "response-2": "No.", "response-3": "Ikiru."}
ORDERS = [
    ("u1", ["response-3", "response-1", "response-2"], "submitted"),
    ("u2", ["response-1", "response-3", "response-2"], "submitted"),
    ("u3", ["response-2", "response-1", "response-3"], "discarded"),
    ("u4", ["response-2", "response-1", "response-3"], "draft"),
]


def flattened(answers: list[tuple[str, Any, str]], name: str = "order", **fields: Any) -> dict[str, Any]:
    users, values, states = (list(column) for column in zip(*answers, strict=True))
    key = f"{name}.responses"
    return {
        "id": "r",
        "status": "completed",
        **fields,
        key: values,
        f"{key}.users": users,
        f"{key}.status": states,
    }


def by_question(answers: list[tuple[str, Any, str]], **fields: Any) -> dict[str, Any]:
    responses = [{"user_id": user, "value": value} for user, value, state in answers if state == "submitted"]
    return {"id": "r", "fields": fields, "responses": {"order": responses}, "suggestions": {}, "metadata": {}}


def by_user(answers: list[tuple[str, Any, str]], **fields: Any) -> dict[str, Any]:
    responses = [
        {"user_id": user, "status": state, "values": {"order": {"value": value}}}
        for user, value, state in answers
    ]
    return {"id": "r", "fields": fields, "responses": responses}


def as_columns(answers: list[tuple[str, Any, str]], **fields: Any) -> dict[str, Any]:
    cells = [{"user_id": user, "value": value, "status": state} for user, value, state in answers]
    return {**fields, "order": cells, "order-suggestion": None, "metadata": "{}"}


LAYOUTS = [flattened, by_question, by_user, as_columns]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_submitted_rankings_are_counted(rows_file: Callable[..., Path], layout: Callable[..., Any]) -> None:
    path = rows_file(layout(ORDERS, **FIELDS))
    inspection = inspect(path)
    assert inspection.kind is Ranking
    assert [[one.text for one in r.completions] for r in inspection.records] == [
        ["Ikiru.", "Ran.", "No."],
        ["Ran.", "Ikiru.", "No."],
    ]
    pairs = {(r.chosen.text, r.rejected.text): r.probability for r in read_records(Preference, path)}
    assert pairs == {("Ikiru.", "Ran."): 0.5, ("Ikiru.", "No."): 1, ("Ran.", "No."): 1}
    assert inspection.records[0].prompt.messages[0].content == "Name a film."


def test_ranks_may_be_equal(rows_file: Callable[..., Path]) -> None:
    fields = {key: FIELDS[key] for key in ("prompt", "response-1", "response-2")}
    tied = [{"value": "response-1", "rank": 1}, {"value": "response-2", "rank": 1}]
    stored = {"value": ["response-2", "response-1"], "rank": [1, 2]}
    path = rows_file(as_columns([("u1", tied, "submitted"), ("u2", stored, "submitted")], **fields))
    (record,) = read_records(Preference, path)
    assert (record.chosen.text, record.probability) == ("No.", 0.75)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_options_may_be_the_ends_of_fields(rows_file: Callable[..., Path], layout: Callable[..., Any]) -> None:
    fields = {"prompt": "Name a film.", "Response 1": "Ran.", "Response 2": "No.", "Response 12": "Oz."}
    path = rows_file(layout([("u1", ["2", "12", "1"], "submitted")], **fields))
    (record,) = read_records(Ranking, path)
    assert [one.text for one in record.completions] == ["No.", "Oz.", "Ran."]


def test_an_end_of_two_fields_is_not_guessed(rows_file: Callable[..., Path]) -> None:
    fields = {"prompt": "Name a film.", "Response 1": "Ran.", "Draft 1": "No.", "Response 2": "Oz."}
    inspection = inspect(
        rows_file(
            flattened([("u1", ["Response 1", "2"], "submitted")], **fields),
            flattened([("u1", ["2", "1"], "submitted")], **fields),
        )
    )
    assert [one.reason for one in inspection.refused] == [
        "a ranking has '1' in it, and it may be Response 1 or Draft 1"
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_label_chooses_between_two_answers(rows_file: Callable[..., Path], layout: Callable[..., Any]) -> None:
    fields = {"prompt": "Name a film.", "response-1": "Ran.", "response-2": "No."}
    answers = [("u1", "response-2", "submitted"), ("u2", "tie", "submitted"), ("u3", "response-1", "discarded")]
    inspection = inspect(rows_file(layout(answers, **fields)))
    assert inspection.kind is Preference
    assert [(r.chosen.text, r.probability) for r in inspection.records] == [("No.", 0.75)]


def test_ratings_have_their_raters(rows_file: Callable[..., Path]) -> None:
    answers = [("u1", 4, "submitted"), ("u2", 5, "submitted"), ("u3", 1, "discarded")]
    row = flattened(answers, "quality", prompt="Name a film.", response="Ran.")
    row |= {"comment.responses": ["fine"], "comment.responses.status": ["discarded"]}
    inspection = inspect(rows_file(row))
    assert inspection.kind is RatedText
    (record,) = inspection.records
    assert (record.text, record.ratings, record.raters) == ("Ran.", (4, 5), ("u1", "u2"))


def test_records_without_submitted_responses_are_unused(rows_file: Callable[..., Path]) -> None:
    pending = flattened([("u1", None, "draft"), ("u2", ["response-1", "response-2"], "discarded")], **FIELDS)
    inspection = inspect(rows_file(flattened(ORDERS, **FIELDS), pending))
    assert [one.reason for one in inspection.refused] == ["it has no submitted response"]


def test_damaged_records_are_refused(rows_file: Callable[..., Path]) -> None:
    good = flattened(ORDERS, **FIELDS)
    unknown = flattened([("u1", ["response-1", "response-9"], "submitted")], **FIELDS)
    ragged = {**good, "order.responses.users": ["u1"]}
    twice = {**good, "other.responses": [["response-1", "response-2"]]}
    inspection = inspect(rows_file(good, unknown, ragged, twice))
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons == [
        "a ranking has 'response-9' in it, and no field is called so",
        "order.responses has 4 values, 1 user and 4 states",
        "it has several questions, order, other",
    ]


def test_a_word_that_is_no_answer_is_refused(rows_file: Callable[..., Path]) -> None:
    fields = {"prompt": "Name a film.", "response-1": "Ran.", "response-2": "No."}
    with pytest.raises(DataError, match="a response is 'third', which is no verdict between response-1"):
        read_records(Preference, rows_file(flattened([("u1", "third", "submitted")], **fields)))
