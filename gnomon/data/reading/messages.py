"""Messages: the turns of a conversation as rows hold them, and as the rest of Gnomon reads them.

A key that changes what a message means is read or refused by name; other keys are left unread, and reported as
such by whoever reads the file.
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
    """The turns of a conversation."""
    return tuple(_message(mapping(turn)) for turn in listed(value, key))


def message_row(message: Message) -> dict[str, Any]:
    """A message as JSON holds it and `messages` reads it; what it does not have is left out."""
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning_content is not None:
        row["reasoning_content"] = message.reasoning_content
    if message.train is not None:
        row["train"] = message.train
    return row


def stored_message(row: Mapping[str, Any]) -> Message:
    """The message behind a `message_row` that Gnomon wrote."""
    return Message(row["role"], row["content"], row.get("reasoning_content"), row.get("train"))


def same_turns(first: Sequence[Message], second: Sequence[Message]) -> bool:
    """Whether two lists of messages have the same turns; what is marked to be learned may differ."""
    return unmarked(first) == unmarked(second)


def unmarked(turns: Sequence[Message]) -> tuple[Message, ...]:
    """The turns without marks of what is to be learned."""
    return tuple(turn if turn.train is None else replace(turn, train=None) for turn in turns)


def fingerprint(turns: Sequence[Message]) -> str:
    """What an id is made from: a lone user's words count as the text that they are."""
    words = turns[0].content if len(turns) == 1 and turns[0].role == "user" else repr(tuple(turns))
    extras = [(turn.reasoning_content, turn.train) for turn in turns]
    return words if all(extra == (None, None) for extra in extras) else f"{words}\n{extras!r}"


def _message(turn: Mapping[str, Any]) -> Message:
    role = required(turn, "role")
    if role not in ROLES:
        raise DataError(f"a message has the role {brief(role)}, not a role of system, user, assistant or tool")
    for key, advice in REFUSED_KEYS.items():
        if filled(turn.get(key)):
            raise DataError(f"a message has {key}, {advice}")
    thoughts = turn.get("reasoning_content")
    if filled(thoughts) and role != "assistant":
        raise DataError(f"a {role}'s message has reasoning_content; only the assistant's may")
    reasoning = text(thoughts, "reasoning_content") if filled(thoughts) else None
    content = turn.get("content")
    if content is None and reasoning is not None:
        content = ""
    words = _words(required(turn, "content") if content is None else content)
    return Message(role, words, reasoning, _trained(turn, role))


def _words(content: Any) -> str:
    """The content as one text; a list of text parts, as chat APIs have it, is their texts in a row."""
    if not isinstance(content, list):
        return text(content, "content")
    parts = [part for part in content if isinstance(part, Mapping) and part.get("type", "text") == "text"]
    if len(parts) < len(content):
        other = next(part for part in content if part not in parts)
        kind = brief(other.get("type")) if isinstance(other, Mapping) else brief(other)
        raise DataError(f"content is a list with {kind} in it, but only parts of the type 'text' can be read")
    return "".join(text(required(part, "text"), "content") for part in parts)


def _trained(turn: Mapping[str, Any], role: str) -> bool | None:
    """Whether the turn is marked to be learned, by `train` or by a `weight` of 0 or 1."""
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
