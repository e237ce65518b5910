"""The prompt of a row, whatever its column is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.data.formats.common.conversations import is_messages
from gnomon.data.formats.hh import turns_of
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import filled, required, text

QUESTIONS = ("prompt", "instruction", "question", "query", "context", "post", "article")
CONVERSATIONS = ("messages", "context_messages", "conversation", "dialogue", "dialog", "chat")
SYSTEMS = ("system", "system_prompt", "system_message")
RATERS = ("rater", "annotator", "worker_id", "annotator_id", "rater_id", "raters", "annotators")
ANSWERS = ("response", "completion", "answer", "output", "reply", "generation")


RATINGS = ("rating", "score", "likert", "stars", "overall_rating", "human_rating", "quality", "ratings", "scores")


def rating_column(row: Mapping[str, Any]) -> str | None:
    """Return the first column with a rating, or with a list of several raters'; `None` if there is none."""
    return next((name for name in RATINGS if filled(row.get(name))), None)


def has_question(row: Mapping[str, Any]) -> bool:
    """Return whether a row has a column with a prompt, a text or a conversation."""
    return any(filled(row.get(name)) for name in QUESTIONS) or _conversation(row) is not None


def question_of(row: Mapping[str, Any]) -> Row:
    """Return the prompt of a row as the keys of Gnomon's own layout.

    An `input` beside an `instruction` follows it on the next line; a transcript with turns of Human: and
    Assistant: becomes messages. Messages may stand under `messages`, `conversation` and the like.

    Raises:
        DataError: the row has no prompt.
    """
    name = next((name for name in QUESTIONS if filled(row.get(name))), None) or _conversation(row)
    if name is None:
        required(row, *(one for one in QUESTIONS if one in row), "prompt")
        raise DataError("the prompt is empty")
    value = row[name]
    if name == "instruction" and filled(row.get("input")):
        value = f"{value}\n{row['input']}"
    own: Row = {"prompt": _turns(value)}
    system = next((row[one] for one in SYSTEMS if filled(row.get(one))), None)
    return own if system is None else {**own, "system": system}


def answer_column(row: Mapping[str, Any]) -> str | None:
    """Return the name of the one column with an answer; `None` if there is none or there are several."""
    names = [name for name in ANSWERS if filled(row.get(name))]
    return names[0] if len(names) == 1 else None


def answer_cell(row: Mapping[str, Any], key: str) -> Any:
    """Return an answer, a text or a list of messages.

    Raises:
        DataError: it is missing, or something else.
    """
    value = required(row, key)
    return value if isinstance(value, list) else text(value, key)


def _conversation(row: Mapping[str, Any]) -> str | None:
    return next((name for name in CONVERSATIONS if is_messages(row.get(name))), None)


def _turns(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("\n\nHuman:"):
        return value
    turns = turns_of(value)
    if turns[-1]["role"] != "assistant" or turns[-1]["content"].strip():
        raise DataError("the prompt is a transcript that does not end where the assistant's turn starts")
    return turns[:-1]
