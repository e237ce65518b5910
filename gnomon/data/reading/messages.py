"""Parsing of messages, the turns of a conversation, from rows.

A key that changes the meaning of a message is read or refused by name; other keys are left unread, and the reader
of the file reports them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Message
from gnomon.data.reading.row_fields import brief, filled, listed, mapping, required, text, truth

ROLES = ("system", "user", "assistant", "tool")
_MARK = "call it train (true or false)"
_THOUGHTS = "call it reasoning_content"
REFUSED_KEYS = {
    "tool_calls": "which Gnomon does not render; write the call into its content",
    "function_call": "which Gnomon does not render; write the call into its content",
    "tools": "which Gnomon does not render; write them into a system message",
    "thinking": _THOUGHTS,
    "reasoning": _THOUGHTS,
    "thought": _THOUGHTS,
    "loss": _MARK,
    "training": _MARK,
    "train_detail": "which Gnomon does not read; a turn is learned whole or not at all (train)",
    "mask": _MARK,
    "masked": _MARK,
    "images": "which Gnomon does not read; it learns from text",
    "audio": "which Gnomon does not read; it learns from text",
}


def messages(value: Any, key: str = "messages") -> tuple[Message, ...]:
    """Parse the turns of a conversation."""
    return tuple(_message(mapping(turn)) for turn in listed(value, key))


def message_row(message: Message) -> dict[str, Any]:
    """Convert a message to a JSON object that `messages` can parse; fields that are `None` are omitted."""
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning_content is not None:
        row["reasoning_content"] = message.reasoning_content
    if message.train is not None:
        row["train"] = message.train
    return row


def stored_message(row: Mapping[str, Any]) -> Message:
    """Convert an object that `message_row` wrote back to the message."""
    return Message(row["role"], row["content"], row.get("reasoning_content"), row.get("train"))


def same_turns(first: Sequence[Message], second: Sequence[Message]) -> bool:
    """Return whether two lists of messages have the same turns; marks of turns to be learned may differ."""
    return unmarked(first) == unmarked(second)


def unmarked(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Remove the marks of turns to be learned."""
    return tuple(turn if turn.train is None else replace(turn, train=None) for turn in turns)


def fingerprint(turns: Sequence[Message]) -> str:
    """Return the text that an id is computed from: for a single user's message its content."""
    content = turns[0].content if len(turns) == 1 and turns[0].role == "user" else repr(tuple(turns))
    extras = [(turn.reasoning_content, turn.train) for turn in turns]
    return content if all(extra == (None, None) for extra in extras) else f"{content}\n{extras!r}"


def _message(turn: Mapping[str, Any]) -> Message:
    role = required(turn, "role")
    if role not in ROLES:
        raise DataError(f"a message has the role {brief(role)}, not a role of system, user, assistant or tool")
    for key, advice in REFUSED_KEYS.items():
        if filled(turn.get(key)):
            raise DataError(f"a message has {key}, {advice}")
    reasoning = turn.get("reasoning_content")
    if filled(reasoning) and role != "assistant":
        raise DataError(f"a {role}'s message has reasoning_content; only the assistant's may")
    reasoning = text(reasoning, "reasoning_content") if filled(reasoning) else None
    content = turn.get("content")
    if content is None and reasoning is not None:
        content = ""
    plain = _plain_text(required(turn, "content") if content is None else content)
    return Message(role, plain, reasoning, _train_mark(turn, role))


def _plain_text(content: Any) -> str:
    """Return the content as one text; a list of text parts, as in chat APIs, is concatenated."""
    if not isinstance(content, list):
        return text(content, "content")
    parts = [part for part in content if isinstance(part, Mapping) and part.get("type", "text") == "text"]
    if len(parts) < len(content):
        other = next(part for part in content if part not in parts)
        kind = brief(other.get("type")) if isinstance(other, Mapping) else brief(other)
        raise DataError(f"content is a list with {kind} in it, but only parts of the type 'text' can be read")
    return "".join(text(required(part, "text"), "content") for part in parts)


def _train_mark(turn: Mapping[str, Any], role: str) -> bool | None:
    """Return whether the turn is marked to be learned, by `train` or a `weight` of 0 or 1; `None` if unmarked."""
    marks = set()
    for key in ("train", "weight"):
        value = turn.get(key)
        if value is None or value == "":
            continue
        try:
            marks.add(truth(value, key))
        except DataError:
            raise DataError(f"a message's {key} is {brief(value)}, neither 0 (false) nor 1 (true)") from None
    if len(marks) > 1:
        raise DataError("a message's train and weight contradict each other")
    if role != "assistant" and True in marks:
        raise DataError(f"a {role}'s message is marked to be learned, but only the assistant's turns are")
    return next(iter(marks), None) if role == "assistant" else None
