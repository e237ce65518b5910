"""The rows of an exported data set, as JSON and Arrow: each kind has one schema for all projects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from gnomon.core.types import Completion, Message, Preference, Ranking
from gnomon.data.record_rows import completion_row, prompt_row, record_row
from gnomon.feedback.tasks.judgements import JudgedItem, StoredJudgement

RowKind = Literal["preferences", "rankings", "demonstrations", "judgements"]
Row = dict[str, Any]


def preference_row(preference: Preference, items: Sequence[int]) -> Row:
    """A preference and its items."""
    return {**record_row(preference), "items": list(items)}


def ranking_row(ranking: Ranking, item: int) -> Row:
    """A ranking, best first, and its item."""
    return {**record_row(ranking), "items": [item]}


def demonstration_row(item: JudgedItem, judgement: StoredJudgement) -> Row:
    """A completion rewritten by an annotator, with the judgement's id; of several turns the last is replaced."""
    rewrite = judgement.answer["rewrite"]
    original = next(one for one in item.completions if one.id == judgement.shown[rewrite["place"]])
    written = Completion(judgement.id, str(rewrite["text"]), "rewrite")
    if original.turns is not None:
        turns = (*original.turns[:-1], Message("assistant", written.text))
        text = "\n\n".join(turn.content for turn in turns if turn.role == "assistant")
        written = replace(written, text=text, turns=turns)
    return {
        "prompt": prompt_row(item.prompt),
        "completion": completion_row(written),
        "weight": 1.0,
        "items": [item.key],
    }


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
        "at": datetime.fromtimestamp(judgement.created, UTC).isoformat(timespec="seconds"),
        "item": item.key,
        "answer": dict(judgement.answer),
        "confidence": judgement.confidence,
        "surplus": judgement.surplus,
    }


def arrow_schema(kind: RowKind) -> Any:
    """The columns of a kind of rows in Parquet, where an answer is JSON text."""
    import pyarrow as pa

    text, number, items = pa.string(), pa.float64(), pa.list_(pa.int64())
    message = pa.struct({"role": text, "content": text, "reasoning_content": text, "train": pa.bool_()})
    prompt = pa.struct({"id": text, "messages": pa.list_(message), "answer": text})
    completion = pa.struct({"id": text, "text": text, "source": text, "turns": pa.list_(message)})
    columns: dict[RowKind, dict[str, Any]] = {
        "preferences": {
            "prompt": prompt,
            "chosen": completion,
            "rejected": completion,
            "probability": number,
            "margin": number,
            "weight": number,
            "items": items,
        },
        "rankings": {
            "prompt": prompt,
            "completions": pa.list_(completion),
            "weight": number,
            "items": items,
        },
        "demonstrations": {"prompt": prompt, "completion": completion, "weight": number, "items": items},
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
