"""The rows of an exported data set, as JSON and Arrow: each kind has one schema for all projects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from gnomon.core.types import Completion, Preference, Ranking
from gnomon.data.reading.messages import text_of_turns
from gnomon.data.record_rows import completion_row, prompt_row, record_row
from gnomon.feedback.tasks.judgements import JudgedItem, StoredJudgement
from gnomon.feedback.written_answers import WrittenText

RowKind = Literal["preferences", "rankings", "demonstrations", "judgements"]
Row = dict[str, Any]
OF_ANY_SHAPE = {"tools", "tool_calls", "chat_template_kwargs"}


def preference_row(preference: Preference, items: Sequence[int]) -> Row:
    """A preference and its items."""
    return {**record_row(preference), "items": list(items)}


def ranking_row(ranking: Ranking, item: int) -> Row:
    """A ranking, best first, and its item."""
    return {**record_row(ranking), "items": [item]}


def rewritten_row(item: JudgedItem, judgement: StoredJudgement) -> Row:
    """A completion rewritten by an annotator, with the judgement's id; of several turns the last is replaced."""
    rewrite = judgement.answer["rewrite"]
    original = next(one for one in item.completions if one.id == judgement.shown[rewrite["place"]])
    written = Completion(judgement.id, str(rewrite["text"]), "rewrite")
    if original.turns is not None:
        last = replace(original.turns[-1], content=written.text, reasoning_content=None, train=None)
        turns = (*original.turns[:-1], last)
        written = replace(written, text=text_of_turns(turns), turns=turns)
    return _demonstration_row(item, written, _provenance(judgement))


def written_row(item: JudgedItem, text: WrittenText[StoredJudgement], flags: Sequence[str]) -> Row:
    """A text that an annotator wrote, as its review left it, with the id of the judgement that has this text.

    Args:
        item: the item.
        text: the text with its review.
        flags: what the checks of the text found.
    """
    revised = text.review is not None and text.review.answer["verdict"] == "revised"
    source = text.review if revised and text.review is not None else text.written
    return _demonstration_row(
        item,
        Completion(source.id, text.text, "revised" if revised else "written"),
        _provenance(text.written, text.review, flags),
    )


def decided_row(item: JudgedItem, decision: StoredJudgement) -> Row:
    """A text with which a reviewer replaced the texts of an item."""
    written = Completion(decision.id, str(decision.answer["text"]), "decision")
    return _demonstration_row(item, written, _provenance(decision))


def _demonstration_row(item: JudgedItem, completion: Completion, provenance: Row) -> Row:
    return {
        "prompt": prompt_row(item.prompt),
        "completion": completion_row(completion),
        "weight": 1.0,
        "items": [item.key],
        "provenance": provenance,
    }


def _provenance(
    written: StoredJudgement, review: StoredJudgement | None = None, flags: Sequence[str] = ()
) -> Row:
    """Who wrote a text, when and in which time, who reviewed it, and what checks found."""
    return {
        "rater": written.annotator,
        "at": _moment(written),
        "seconds": written.seconds,
        "reviewed_by": None if review is None else review.annotator,
        "reviewed_at": None if review is None else _moment(review),
        "flags": list(flags),
    }


def _moment(judgement: StoredJudgement) -> str:
    return datetime.fromtimestamp(judgement.created, UTC).isoformat(timespec="seconds")


def judgement_row(item: JudgedItem, judgement: StoredJudgement, value: Sequence[float]) -> Row:
    """One judgement: the fields of `core.types.Judgement`, the item, and the answer as given.

    Args:
        item: the judged item.
        judgement: a judgement of the item.
        value: value of each completion, in the order shown.
    """
    return {
        "id": judgement.id,
        "rater": judgement.annotator,
        "prompt_id": item.prompt.id,
        "shown": list(judgement.shown),
        "value": list(value),
        "reason": judgement.reason,
        "at": _moment(judgement),
        "item": item.key,
        "answer": dict(judgement.answer),
        "confidence": judgement.confidence,
        "surplus": judgement.surplus,
    }


def arrow_row(row: Row) -> Row:
    """A row for `arrow_schema`: values whose shape differs from row to row become JSON text."""
    answer = row.get("answer")  # of a judgement, whose shape depends on the task
    if answer is not None:
        row = {**row, "answer": json.dumps(answer, ensure_ascii=False)}
    return {key: _flat(value) for key, value in row.items()}


def _flat(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_flat, value))
    if not isinstance(value, dict):
        return value
    return {
        key: json.dumps(one, ensure_ascii=False) if key in OF_ANY_SHAPE else _flat(one)
        for key, one in value.items()
    }


def arrow_schema(kind: RowKind) -> Any:
    """The columns of a kind of rows in Parquet, where answers, tools and tool calls are JSON text."""
    import pyarrow as pa

    text, number, items = pa.string(), pa.float64(), pa.list_(pa.int64())
    message = pa.struct(
        {
            "role": text,
            "content": text,
            "reasoning_content": text,
            "train": pa.bool_(),
            "tool_calls": text,
            "name": text,
            "tool_call_id": text,
        }
    )
    prompt = pa.struct(
        {
            "id": text,
            "messages": pa.list_(message),
            "answer": text,
            "tools": text,
            "chat_template_kwargs": text,
        }
    )
    completion = pa.struct({"id": text, "text": text, "source": text, "turns": pa.list_(message)})
    columns: dict[RowKind, dict[str, Any]] = {
        "preferences": {
            "prompt": prompt,
            "chosen": completion,
            "rejected": completion,
            "probability": number,
            "margin": number,
            "weight": number,
            "tie": number,
            "items": items,
        },
        "rankings": {
            "prompt": prompt,
            "completions": pa.list_(completion),
            "weight": number,
            "items": items,
        },
        "demonstrations": {
            "prompt": prompt,
            "completion": completion,
            "weight": number,
            "items": items,
            "provenance": pa.struct(
                {
                    "rater": text,
                    "at": text,
                    "seconds": number,
                    "reviewed_by": text,
                    "reviewed_at": text,
                    "flags": pa.list_(text),
                }
            ),
        },
        "judgements": {
            "id": text,
            "rater": text,
            "prompt_id": text,
            "shown": pa.list_(text),
            "value": pa.list_(number),
            "reason": text,
            "at": text,
            "item": pa.int64(),
            "answer": text,
            "confidence": number,
            "surplus": pa.bool_(),
        },
    }
    return pa.schema(columns[kind])
