"""Label Studio's JSON export: tasks with their data and annotations, which it imports as well.

https://labelstud.io/guide/task_format; the tags Pairwise, Choices, Ranker and Rating.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Preference, Prompt, Ranking, RatedText
from gnomon.data.formats.common.ballots import (
    Ballot,
    JudgedPrompt,
    JudgedRows,
    pair_ballot,
    prompt_fields,
    ranked_ballot,
    single_answer,
)
from gnomon.data.formats.common.record_parts import PROBABILITIES
from gnomon.data.formats.common.verdicts import AnswerPair, answer_pair, vote_for_first
from gnomon.data.formats.common.writing import check_no_tools, check_plain, final_answer, message_rows
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, filled, finite, listed, mapping, required, text

KINDS = {"pairwise": Preference, "choices": Preference, "ranker": Ranking, "rating": RatedText}
ITEM_TEXTS = ("body", "text", "html", "title")
UNJUDGED = "nobody has annotated it"
TASKS = "Label Studio's tasks"
MOST_VOTES = 20  # annotations that stand for a probability


class LabelStudio(JudgedRows, Format):
    """Tasks with annotations of several people; skipped ones do not count."""

    name = "label-studio"
    title = "a Label Studio export"
    kinds = (Preference, Ranking, RatedText)
    writes = (Preference, Ranking, RatedText)
    written_as = "json"

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """`data` and `annotations`, which hold results."""
        annotations = row.get("annotations")
        if not isinstance(row.get("data"), Mapping) or not isinstance(annotations, list):
            return None
        known = all(isinstance(one, Mapping) and "result" in one for one in annotations)
        return "data has annotations with results" if known else None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Return the kind of the first result that makes records."""
        for row in rows:
            for annotation in _objects(row.get("annotations")):
                for result in _objects(annotation.get("result")):
                    if str(result.get("type")) in KINDS:
                        return KINDS[str(result["type"])]
        return Preference

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Count the annotators' choices."""
        return self.judged(kind, row).rows(kind)

    def judged(self, kind: type, row: Mapping[str, Any]) -> JudgedPrompt:
        """Return the prompt, the answers and the annotators' judgements."""
        data = mapping(required(row, "data"))
        results = _results(row, kind)
        if not results:
            raise UnusedRow(UNJUDGED)
        answers, pair = _answers(data, results[0][1])
        ballots = [_ballot(annotator, result, answers, pair) for annotator, result in results]
        return JudgedPrompt(
            "" if row.get("id") is None else str(row["id"]), prompt_fields(data), answers, ballots
        )

    def keeps(self, kind: type) -> Collection[str]:
        """Probabilities, as the votes of several annotations."""
        return (PROBABILITIES,) if kind is Preference else ()

    def write(self, record: Preference | Ranking | RatedText) -> Row:
        """Write a task with an annotation for each vote, ranking or rating."""
        if isinstance(record, Preference):
            answers = [_text_of(one) for one in (record.chosen, record.rejected)]
            data = {**_data_of(record.prompt), "answer1": answers[0], "answer2": answers[1]}
            results = [{"selected": side} for side in _sides(record.probability)]
            return _task(data, "preference", ["answer1", "answer2"], "pairwise", results)
        if isinstance(record, Ranking):
            items = [
                {"id": str(number), "body": _text_of(one)}
                for number, one in enumerate(record.completions, start=1)
            ]
            order = {"ranker": {"rank": [one["id"] for one in items]}}
            return _task({**_data_of(record.prompt), "items": items}, "rank", "items", "ranker", [order])
        data = {**(_data_of(record.prompt) if record.prompt else {}), "response": record.text}
        ratings = [{"rating": rating} for rating in record.ratings]
        return {"id": record.id, **_task(data, "rating", "response", "rating", ratings, record.raters)}


def _data_of(prompt: Prompt) -> Row:
    """Return a task's data of a prompt: one text, or messages.

    Raises:
        DataError: it has something that the page cannot show, such as tools.
    """
    check_no_tools(prompt, TASKS)
    for turn in prompt.messages:
        check_plain(turn, TASKS)
    (first, *others) = prompt.messages
    if first.role == "user" and not others and not first.content.startswith("\n\nHuman:"):
        return {"prompt": first.content}
    return {"messages": message_rows(prompt.messages)}


def _text_of(completion: Completion) -> str:
    answer = final_answer(completion, TASKS)
    check_plain(answer, TASKS)
    return answer.content


def _sides(probability: float) -> list[str]:
    """Return the fewest votes whose share for the first answer is a probability.

    Raises:
        DataError: there are none of at most `MOST_VOTES`.
    """
    share = Fraction(probability).limit_denominator(MOST_VOTES)
    if abs(share - probability) > 1e-6:
        raise DataError(f"{TASKS} have votes, and no {MOST_VOTES} votes have a share of {probability:g}")
    return ["left"] * share.numerator + ["right"] * (share.denominator - share.numerator)


def _task(
    data: Row,
    question: str,
    to_name: str | list[str],
    kind: str,
    values: Sequence[Row],
    annotators: Sequence[str] = (),
) -> Row:
    """Return a task; the annotations are those of whoever imports it, unless the annotators are known."""
    people = [{"completed_by": {"email": name}} if name else {} for name in annotators] or [{} for _ in values]
    results = [{"from_name": question, "to_name": to_name, "type": kind, "value": value} for value in values]
    return {
        "data": data,
        "annotations": [{**person, "result": [result]} for person, result in zip(people, results, strict=True)],
    }


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _results(row: Mapping[str, Any], kind: type) -> list[tuple[str, Mapping[str, Any]]]:
    """Return each annotator with their one result of the wanted kind; a later annotation replaces an earlier."""
    results: dict[Any, tuple[str, Mapping[str, Any]]] = {}
    for number, cell in enumerate(listed(required(row, "annotations"), "annotations")):
        annotation = mapping(cell)
        if annotation.get("was_cancelled"):
            continue
        own = [mapping(one) for one in listed(annotation.get("result") or [], "result")]
        own = [one for one in own if kind in _kinds_of(one)]
        if len(own) > 1:
            names = ", ".join(str(one.get("from_name")) for one in own)
            raise DataError(f"an annotation has several results, {names}; export one question at a time")
        name = _annotator(annotation)
        for one in own:
            results[name or number] = name, one
    return list(results.values())


def _kinds_of(result: Mapping[str, Any]) -> tuple[type, ...]:
    """Return the kinds of records that a result makes: a ranking also makes preferences."""
    kind = KINDS.get(str(result.get("type")))
    return () if kind is None else (Ranking, Preference) if kind is Ranking else (kind,)


def _annotator(annotation: Mapping[str, Any]) -> str:
    person = annotation.get("completed_by")
    if isinstance(person, Mapping):
        person = person.get("email") or person.get("id")
    return text(str(person), "completed_by") if filled(person) else ""


def _answers(data: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[dict[str, Any], AnswerPair | None]:
    kind = result.get("type")
    if kind == "rating":
        return single_answer(data), None
    if kind == "ranker":
        return _items(data), None
    pair = _shown_pair(data, result) or answer_pair(data)
    if pair is None:
        raise DataError("it compares answers, but its data have no two, such as answer1 and answer2")
    return {name: required(data, name) for name in (pair.first, pair.second)}, pair


def _shown_pair(data: Mapping[str, Any], result: Mapping[str, Any]) -> AnswerPair | None:
    """Return the answers in the order in which the page shows them, where `to_name` has their names.

    Raises:
        DataError: the page's names are others than those of the answers, so that left and right are not known.
    """
    shown = result.get("to_name")
    if not isinstance(shown, list) or len(shown) != 2:
        return None
    first, second = map(str, shown)
    pair = answer_pair(data)
    if pair is not None and {first, second} == {pair.first, pair.second}:
        return pair if first == pair.first else AnswerPair(pair.second, pair.first, pair.suffixes[::-1])
    if first in data and second in data:
        return AnswerPair(first, second, ("1", "2"))
    return pair


def _items(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the texts of the list that was ranked, by their ids."""
    for key in data:
        cells = data.get(key)
        if isinstance(cells, list) and cells and all(isinstance(one, Mapping) and "id" in one for one in cells):
            return {str(one["id"]): text(required(one, *ITEM_TEXTS)) for one in cells}
    raise DataError("it has a ranking, but its data have no list of items with an id")


def _ballot(
    annotator: str, result: Mapping[str, Any], answers: Mapping[str, Any], pair: AnswerPair | None
) -> Ballot:
    kind, value = result.get("type"), mapping(required(result, "value"))
    if kind == "rating":
        return Ballot(annotator, rating=finite(required(value, "rating"), "rating"))
    if kind == "ranker":
        return ranked_ballot(annotator, [[name] for name in _ranked_ids(required(value, "ranker"))], answers)
    if pair is None:
        raise DataError(f"a result has the type {kind}, and the task has no two answers")
    verdict = required(value, "selected", "choices")
    if isinstance(verdict, list) and len(verdict) != 1:
        raise DataError(f"an annotation chooses {len(verdict)} of two answers")
    word = verdict[0] if isinstance(verdict, list) else verdict
    vote = vote_for_first(word, pair, str(result.get("from_name") or kind))
    return pair_ballot(annotator, (pair.first, pair.second), vote)


def _ranked_ids(value: Any) -> list[str]:
    """Return the ids best first; a ranking in buckets is refused, since buckets have no order."""
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise DataError(f"a ranking is in buckets, {brief(list(value))}, which have no order")
        value = next(iter(value.values()))
    return [str(name) for name in listed(value, "ranker")]
