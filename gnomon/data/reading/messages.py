"""Parsing of messages, the turns of a conversation, from rows.

A key that changes the meaning of a message is read or refused by name; other keys are left unread, and the reader
of the file reports them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Message, Prompt
from gnomon.data.reading.media.columns import MEDIA_COLUMNS
from gnomon.data.reading.media.parts import content_value, parse_content
from gnomon.data.reading.row_fields import brief, filled, listed, mapping, required, text, truth
from gnomon.data.reading.tools import tool_calls_of

ROLES = ("system", "user", "assistant", "tool")
_MARK = "call it train (true or false)"
_THOUGHTS = "call it reasoning_content"
REFUSED_KEYS = {
    "function_call": "the older form of a call; write it as tool_calls",
    "tools": "which belong to the whole row; put them into its column tools",
    "thinking": _THOUGHTS,
    "reasoning": _THOUGHTS,
    "thought": _THOUGHTS,
    "loss": _MARK,
    "training": _MARK,
    "train_detail": "which Gnomon does not read; a turn is learned whole or not at all (train)",
    "mask": _MARK,
    "masked": _MARK,
    **dict.fromkeys(MEDIA_COLUMNS, "which belongs into the parts of its content or into a column of the row"),
}


def messages(value: Any, key: str = "messages") -> tuple[Message, ...]:
    """Parse the turns of a conversation."""
    return tuple(_message(mapping(turn)) for turn in listed(value, key))


def message_row(message: Message) -> dict[str, Any]:
    """Convert a message to a JSON object that `messages` can parse; fields that it does not have are omitted."""
    row: dict[str, Any] = {"role": message.role, "content": content_value(message)}
    if message.reasoning_content is not None:
        row["reasoning_content"] = message.reasoning_content
    if message.train is not None:
        row["train"] = message.train
    if message.tool_calls:
        row["tool_calls"] = list(map(json.loads, message.tool_calls))
    if message.name is not None:
        row["name"] = message.name
    if message.tool_call_id is not None:
        row["tool_call_id"] = message.tool_call_id
    return row


def context_row(prompt: Prompt) -> dict[str, Any]:
    """What the chat template reads beside the messages of a prompt, under the names of a row's columns."""
    row: dict[str, Any] = {"tools": list(map(json.loads, prompt.tools))} if prompt.tools else {}
    if prompt.chat_template_kwargs:
        row["chat_template_kwargs"] = json.loads(prompt.chat_template_kwargs)
    return row


def stored_message(row: Mapping[str, Any]) -> Message:
    """Convert an object that `message_row` wrote back to the message."""
    content, media = parse_content(row["content"])
    return Message(
        row["role"],
        content,
        row.get("reasoning_content"),
        row.get("train"),
        tool_calls_of(row.get("tool_calls")),
        row.get("name"),
        row.get("tool_call_id"),
        media,
    )


def text_of_turns(turns: Sequence[Message]) -> str:
    """Return the assistant's texts with a blank line between them; turns that are tool calls alone have none."""
    return "\n\n".join(t.content for t in turns if t.role == "assistant" and (t.content or not t.tool_calls))


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
    if any(extra != (None, None) for extra in extras):
        content = f"{content}\n{extras!r}"
    calls = [(turn.tool_calls, turn.name, turn.tool_call_id) for turn in turns]
    if any(one != ((), None, None) for one in calls):
        content = f"{content}\n{calls!r}"
    media = [turn.media for turn in turns]
    return f"{content}\n{media!r}" if any(media) else content


def context_fingerprint(prompt: Prompt) -> str:
    """Return the text that a prompt's id is computed from: its messages, and its tools if it has any."""
    beside = (prompt.tools, prompt.chat_template_kwargs)
    return fingerprint(prompt.messages) + (f"\n{beside!r}" if any(beside) else "")


def _message(turn: Mapping[str, Any]) -> Message:
    role = required(turn, "role")
    if role == "developer":  # OpenAI's later name of the system's role
        role = "system"
    if role not in ROLES:
        raise DataError(f"a message has the role {brief(role)}, not a role of system, user, assistant or tool")
    for key, advice in REFUSED_KEYS.items():
        if filled(turn.get(key)):
            raise DataError(f"a message has {key}, {advice}")
    reasoning = _optional_text(turn, "reasoning_content")
    if reasoning is not None and role != "assistant":
        raise DataError(f"a {role}'s message has reasoning_content; only the assistant's may")
    calls = tool_calls_of(turn.get("tool_calls"))
    if calls and role != "assistant":
        raise DataError(f"a {role}'s message has tool_calls; only the assistant's may")
    name, call_id = (_optional_text(turn, key) if role == "tool" else None for key in ("name", "tool_call_id"))
    content = turn.get("content")
    if content is None and (reasoning is not None or calls):
        content = ""
    plain, media = parse_content(required(turn, "content") if content is None else content)
    return Message(role, plain, reasoning, _train_mark(turn, role), calls, name, call_id, media)


def _optional_text(turn: Mapping[str, Any], key: str) -> str | None:
    value = turn.get(key)
    return text(value, key) if filled(value) else None


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
