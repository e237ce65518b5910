"""Records as rows in Gnomon's own layout, which `gnomon.data.records` reads back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnomon.core.types import (
    Completion,
    Demonstration,
    Label,
    NamedScores,
    Preference,
    Prompt,
    Ranking,
    RatedText,
)
from gnomon.data.reading.messages import context_row, message_row
from gnomon.data.reading.row_fields import filled

Row = dict[str, Any]
PARSED = frozenset(
    {"id", "prompt", "messages", "system", "completion", "answer", "weight", "tools", "chat_template_kwargs"}
)  # columns whose contents a record has itself


def prompt_row(prompt: Prompt) -> Row:
    """A prompt; its tools and variables of the chat template only if it has any."""
    row: Row = {"id": prompt.id, "messages": list(map(message_row, prompt.messages)), "answer": prompt.answer}
    return {**row, **context_row(prompt)}


def completion_row(completion: Completion) -> Row:
    """A completion with its source, and its turns if it has several."""
    row: Row = {"id": completion.id, "text": completion.text, "source": completion.source}
    return row if completion.turns is None else {**row, "turns": list(map(message_row, completion.turns))}


def record_row(record: Any) -> Row:
    """A record of any kind. Prompts and demonstrations keep the columns that rewards may read."""
    row = _ROWS[type(record)](record)
    prompt = record if isinstance(record, Prompt) else getattr(record, "prompt", None)
    if isinstance(record, Prompt | Demonstration) and prompt is not None:
        row |= {key: value for key, value in dict(prompt.columns).items() if key not in PARSED and filled(value)}
    return row


def _preference(record: Preference) -> Row:
    return {
        "prompt": prompt_row(record.prompt),
        "chosen": completion_row(record.chosen),
        "rejected": completion_row(record.rejected),
        "probability": record.probability,
        "margin": record.margin,
        "weight": record.weight,
        **({"tie": record.tie} if record.tie else {}),
    }


def _ranking(record: Ranking) -> Row:
    completions = [completion_row(one) for one in record.completions]
    return {"prompt": prompt_row(record.prompt), "completions": completions, "weight": record.weight}


def _named_scores(record: NamedScores) -> Row:
    return {**_single(record), "scores": dict(record.scores), "weight": record.weight}


def _label(record: Label) -> Row:
    return {**_single(record), "label": record.good, "weight": record.weight}


def _demonstration(record: Demonstration) -> Row:
    return {**_single(record), "weight": record.weight}


def _single(record: Label | Demonstration | NamedScores) -> Row:
    return {"prompt": prompt_row(record.prompt), "completion": completion_row(record.completion)}


def _rated_text(record: RatedText) -> Row:
    row: Row = {"id": record.id, "text": record.text, "ratings": list(record.ratings)}
    if record.prompt is not None:
        row["prompt"] = prompt_row(record.prompt)
    return {**row, "raters": list(record.raters)} if record.raters else row


_ROWS: dict[type, Callable[[Any], Row]] = {
    Preference: _preference,
    Ranking: _ranking,
    NamedScores: _named_scores,
    Label: _label,
    Demonstration: _demonstration,
    RatedText: _rated_text,
    Prompt: prompt_row,
}
