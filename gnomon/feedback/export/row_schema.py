"""The rows of an exported data set, as JSON and as Arrow: each kind has one shape, whatever a project holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from gnomon.core.types import Completion, Message, Preference, Prompt, Ranking
from gnomon.data.reading.messages import message_row
from gnomon.feedback.tasks.judgements import Asked, Spoken

Kind = Literal["preferences", "rankings", "demonstrations", "judgements"]
Row = dict[str, Any]


def prompt_row(prompt: Prompt) -> Row:
    """A prompt, as `data.records` reads it."""
    return {"id": prompt.id, "messages": list(map(message_row, prompt.messages)), "answer": prompt.answer}


def completion_row(completion: Completion) -> Row:
    """A completion with its source, and with its turns where it has several."""
    row: Row = {"id": completion.id, "text": completion.text, "source": completion.source}
    return row if completion.turns is None else {**row, "turns": list(map(message_row, completion.turns))}


def preference_row(made: Preference, items: Sequence[int]) -> Row:
    """A preference, and the items that it was made of."""
    return {
        "prompt": prompt_row(made.prompt),
        "chosen": completion_row(made.chosen),
        "rejected": completion_row(made.rejected),
        "probability": made.probability,
        "margin": made.margin,
        "weight": made.weight,
        "items": list(items),
    }


def ranking_row(made: Ranking, item: int) -> Row:
    """A ranking, best first, and the item that it was made of."""
    answers = [completion_row(one) for one in made.completions]
    return {"prompt": prompt_row(made.prompt), "completions": answers, "weight": made.weight, "items": [item]}


def demonstration_row(asked: Asked, said: Spoken) -> Row:
    """What an annotator made of a completion, under the id of their judgement: of turns the last is theirs."""
    rewrite = said.answer["rewrite"]
    original = next(one for one in asked.completions if one.id == said.shown[rewrite["place"]])
    written = Completion(said.id, str(rewrite["text"]), "rewrite")
    if original.turns is not None:
        turns = (*original.turns[:-1], Message("assistant", written.text))
        text = "\n\n".join(turn.content for turn in turns if turn.role == "assistant")
        written = replace(written, text=text, turns=turns)
    return {
        "prompt": prompt_row(asked.prompt),
        "completion": completion_row(written),
        "weight": 1.0,
        "items": [asked.item],
    }


def judgement_row(asked: Asked, said: Spoken, value: Sequence[float]) -> Row:
    """One judgement: what `core.types.Judgement` holds, the item, and the answer as it was given."""
    return {
        "id": said.id,
        "rater": said.annotator,
        "prompt_id": asked.prompt.id,
        "shown": list(said.shown),
        "value": list(value),
        "reason": said.reason,
        "at": datetime.fromtimestamp(said.at, UTC).isoformat(timespec="seconds"),
        "item": asked.item,
        "answer": dict(said.answer),
        "confidence": said.confidence,
        "surplus": said.surplus,
    }


def arrow_schema(kind: Kind) -> Any:
    """The columns of a kind of rows in Parquet; an answer is JSON text there."""
    import pyarrow as pa

    text, number, items = pa.string(), pa.float64(), pa.list_(pa.int64())
    message = pa.struct({"role": text, "content": text, "reasoning_content": text, "train": pa.bool_()})
    prompt = pa.struct({"id": text, "messages": pa.list_(message), "answer": text})
    completion = pa.struct({"id": text, "text": text, "source": text, "turns": pa.list_(message)})
    columns: dict[Kind, dict[str, Any]] = {
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
