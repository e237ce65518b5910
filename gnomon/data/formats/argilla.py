"""Argilla's exports: records with nested responses, or flattened to columns, of versions 1 and 2.

https://docs.argilla.io/latest/how_to_guides/import_export
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking, RatedText
from gnomon.data.formats.common.ballots import (
    Ballot,
    JudgedPrompt,
    JudgedRows,
    pair_ballot,
    prompt_fields,
    ranked_ballot,
    single_answer,
)
from gnomon.data.formats.common.verdicts import answer_pair, vote_for_first
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.reading.counting import counted
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, filled, finite, listed, mapping, required

RESPONSES = ".responses"
COUNTED = (None, "submitted")
UNJUDGED = "it has no submitted response"


class _Response(NamedTuple):
    """One annotator's answer to a question."""

    annotator: str
    value: Any
    status: Any


_Questions = dict[str, list[_Response]]


class Argilla(JudgedRows, Format):
    """Records with responses to one question: a ranking, a choice or a rating. Only submitted responses count."""

    name = "argilla"
    title = "an Argilla export"
    kinds = (Preference, Ranking, RatedText)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Fields beside responses; or columns that end in `.responses`; or columns that list users' values."""
        if isinstance(row.get("fields"), Mapping) and "responses" in row:
            return "fields have responses"
        for key, value in row.items():
            if str(key).endswith(RESPONSES):
                return f"{key} holds the responses to a question"
            if _is_question(value):
                return f"{key} lists values with user_id and status"
        return None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Return the kind of the first submitted response."""
        for row in rows:
            try:
                for responses in _questions(row).values():
                    for one in responses:
                        if one.status in COUNTED and (kind := _kind_of(one.value)) is not None:
                            return kind
            except DataError:
                continue
        return Preference

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Count the annotators' submitted responses."""
        return self.judged(kind, row).rows(kind)

    def judged(self, kind: type, row: Mapping[str, Any]) -> JudgedPrompt:
        """Return the prompt, the answers and the annotators' judgements."""
        wanted = {
            question: counted
            for question, responses in _questions(row).items()
            if (counted := [r for r in responses if r.status in COUNTED and kind in _makes(_kind_of(r.value))])
        }
        if not wanted:
            raise UnusedRow(UNJUDGED)
        if len(wanted) > 1:
            raise DataError(f"it has several questions, {', '.join(wanted)}; export one of them")
        (responses,) = wanted.values()
        fields = _fields(row)
        answers = single_answer(fields) if kind is RatedText else _answers(fields, responses)
        ballots = [_ballot(kind, one, fields, answers) for one in responses]
        return JudgedPrompt(
            "" if row.get("id") is None else str(row["id"]), prompt_fields(fields), answers, ballots
        )


def _is_question(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, Mapping) and {"user_id", "value", "status"} <= one.keys() for one in value)
    )


def _questions(row: Mapping[str, Any]) -> _Questions:
    """Return the responses to each question, in whichever layout they are."""
    if isinstance(row.get("fields"), Mapping):
        return dict(_nested(row.get("responses")))
    questions: _Questions = {}
    for key in row:
        if str(key).endswith(RESPONSES):
            questions[str(key).removesuffix(RESPONSES)] = _columns(row, key)
            continue
        if _is_question(dict(row)[key]):
            questions[str(key)] = [_Response(str(r["user_id"]), r["value"], r["status"]) for r in row[key]]
    return questions


def _columns(row: Mapping[str, Any], key: str) -> list[_Response]:
    values = listed(row.get(key) or [], key)
    users = listed(row.get(f"{key}.users") or [None] * len(values), f"{key}.users")
    states = listed(row.get(f"{key}.status") or [None] * len(values), f"{key}.status")
    if not len(values) == len(users) == len(states):
        counts = (counted(len(values), "values"), counted(len(users), "users"), counted(len(states), "states"))
        raise DataError(f"{key} has {counts[0]}, {counts[1]} and {counts[2]}")
    return [
        _Response("" if user is None else str(user), value, state)
        for value, user, state in zip(values, users, states, strict=True)
    ]


def _nested(responses: Any) -> Iterator[tuple[str, list[_Response]]]:
    """Yield the questions of a record: version 2 lists responses by question, version 1 by user."""
    if isinstance(responses, Mapping):
        for question in responses:
            cells = [mapping(one) for one in listed(responses[question], question)]
            yield question, [_response(one, one.get("value")) for one in cells]
        return
    by_question: _Questions = {}
    for cell in listed(responses or [], "responses"):
        response = mapping(cell)
        values = mapping(response.get("values") or {})
        for question in values:
            value = values[question]
            value = value.get("value") if isinstance(value, Mapping) else value
            by_question.setdefault(question, []).append(_response(response, value))
    yield from by_question.items()


def _response(cell: Mapping[str, Any], value: Any) -> _Response:
    return _Response(str(cell.get("user_id") or ""), value, cell.get("status"))


def _fields(row: Mapping[str, Any]) -> Mapping[str, Any]:
    fields = row.get("fields")
    return row if fields is None else mapping(fields)


def _kind_of(value: Any) -> type | None:
    """Return the kind of records that a response makes: several labels or spans make none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return RatedText
    if isinstance(value, str):
        return Preference
    return Ranking if _ranks(value) is not None else None


def _makes(kind: type | None) -> tuple[type, ...]:
    return () if kind is None else (Ranking, Preference) if kind is Ranking else (kind,)


def _ranks(value: Any) -> list[list[str]] | None:
    """Return a ranking as lists of names, best first, those in one list tied; `None` if it is none."""
    if isinstance(value, Mapping) and {"rank", "value"} <= value.keys():  # as datasets stores a list of objects
        value = [{"rank": rank, "value": name} for rank, name in zip(value["rank"], value["value"], strict=False)]
    if not isinstance(value, list) or len(value) < 2:
        return None
    if all(isinstance(one, str) for one in value):
        return [[one] for one in value]
    if not all(isinstance(one, Mapping) and {"rank", "value"} <= one.keys() for one in value):
        return None
    tied: dict[float, list[str]] = {}
    for one in value:
        tied.setdefault(finite(one["rank"], "rank"), []).append(str(one["value"]))
    return [tied[rank] for rank in sorted(tied)]


def _answers(fields: Mapping[str, Any], responses: Sequence[_Response]) -> dict[str, Any]:
    """Return the answers by name: the options of a ranking are names of fields."""
    ranks = _ranks(responses[0].value)
    if ranks is not None:
        return {name: fields[_field_of(name, fields)] for tied in ranks for name in tied}
    pair = answer_pair(fields)
    if pair is None:
        raise DataError("it chooses an answer, but its fields have no two, such as response-1 and response-2")
    return {name: required(fields, name) for name in (pair.first, pair.second)}


def _field_of(option: str, fields: Mapping[str, Any]) -> str:
    """Return the field that an option of a ranking means: of its name, or the only one that ends with it.

    Raises:
        DataError: there is none, or several end so: `1` is `Response 1`, but not beside `Answer 1`.
    """
    if filled(fields.get(option)):
        return option
    end = re.compile(rf".*[^0-9a-z]{re.escape(option.lower())}", re.DOTALL)
    names = [name for name in fields if end.fullmatch(str(name).lower()) and filled(fields.get(name))]
    if len(names) != 1:
        fault = "no field is called so" if not names else f"it may be {' or '.join(names)}"
        raise DataError(f"a ranking has '{option}' in it, and {fault}")
    return names[0]


def _ballot(kind: type, response: _Response, fields: Mapping[str, Any], answers: Mapping[str, Any]) -> Ballot:
    if kind is RatedText:
        return Ballot(response.annotator, rating=finite(response.value, "a rating"))
    ranks = _ranks(response.value)
    if ranks is not None:
        return ranked_ballot(response.annotator, ranks, answers)
    pair = answer_pair(fields)
    if pair is None:
        raise DataError(f"a response is {brief(response.value)}, which is no ranking")
    vote = vote_for_first(response.value, pair, "a response")
    return pair_ballot(response.annotator, (pair.first, pair.second), vote)
