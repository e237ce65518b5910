"""Conversations of other tools, cut to ones that a demonstration can be; and checks that formats share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gnomon.data.formats.contract import UnusedRow
from gnomon.data.reading.row_fields import mapping, note_unread

Messages = list[dict[str, Any]]


def answered(row: Mapping[str, Any], messages: Messages) -> Messages:
    """Return a conversation up to its last answer; turns after it are reported as not read.

    Args:
        row: the row that holds it.
        messages: its turns, each with a role.

    Raises:
        UnusedRow: it has no answer, or nothing before the first one.
        DataError: a turn is no object.
    """
    answers = [index for index, turn in enumerate(map(mapping, messages)) if turn.get("role") == "assistant"]
    if not answers:
        raise UnusedRow("the conversation has no turn of the assistant")
    if all(turn.get("role") == "system" for turn in messages[: answers[0]]):
        raise UnusedRow("the conversation starts with the assistant's turn, without a prompt")
    if answers[-1] + 1 < len(messages):
        note_unread(row, "turns after the last answer")
    return messages[: answers[-1] + 1]


def is_messages(value: Any) -> bool:
    """Return whether a cell is a list of turns with a role."""
    return isinstance(value, list) and bool(value) and all(isinstance(t, Mapping) and "role" in t for t in value)


def is_answer_list(value: Any) -> bool:
    """Return whether a cell is a list of answers: a list, perhaps empty, that is no conversation."""
    return isinstance(value, list) and not is_messages(value)


def most(rows: Sequence[Mapping[str, Any]], *keys: str) -> bool:
    """Return whether at least half of some rows have a value, even an empty list, under one of the keys."""
    return 2 * sum(any(row.get(key) not in (None, "") for key in keys) for row in rows) >= len(rows) > 0
