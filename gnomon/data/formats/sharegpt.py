"""Conversations as ShareGPT has them: turns with `from` and `value`.

https://github.com/lm-sys/FastChat reads and writes the same layout.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Message
from gnomon.data.formats.common.conversations import answered
from gnomon.data.formats.common.media_columns import marked_turns
from gnomon.data.formats.common.record_parts import STRENGTH
from gnomon.data.formats.common.writing import check_plain, conversation_of, strength, tools_column
from gnomon.data.formats.contract import Format, carried, has_value
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, listed, mapping, required

ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
}
TITLE = "ShareGPT conversations"
NAMES = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


class ShareGPT(Format):
    """Conversations of `{"from": "human", "value": "…"}` under `conversations`."""

    name = "sharegpt"
    title = TITLE
    kinds = (Demonstration,)
    writes = (Demonstration,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A list of turns with `from` and `value`, and no second answer beside it."""
        if has_turns(row.get("conversations")) and not has_value(row, "chosen", "rejected", "kto_tag"):
            return "conversations holds turns with from and value"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Rename the turns' keys and roles."""
        messages = turns_of(required(row, "conversations"), "conversations")
        yield {**carried(row, kind, {"conversations"}), "messages": answered(row, messages)}

    def keeps(self, kind: type) -> Collection[str]:
        """Columns for the strength."""
        return STRENGTH

    def write(self, record: Demonstration) -> Row:
        """Write prompt and completion as one conversation, every answer of which is learned."""
        turns, media = marked_turns(conversation_of(record, TITLE), TITLE)
        tools = tools_column(record.prompt, TITLE)
        return {"conversations": written_turns(turns), **media, **tools, **strength(record)}


def has_turns(value: Any) -> bool:
    """Return whether a cell is a list of turns with `from` and `value`."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, Mapping) for turn in value)
        and any("from" in turn and "value" in turn for turn in value)
    )


def turns_of(value: Any, key: str) -> list[dict[str, Any]]:
    """Convert turns with `from` and `value` to messages; other keys of a turn stay as they are.

    Raises:
        DataError: a turn's author is unknown.
    """
    return [message_of(mapping(turn)) for turn in listed(value, key)]


def message_of(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a turn with `from` and `value` to a message.

    Raises:
        DataError: the turn's author is unknown, or it is a call of a function that is not JSON.
    """
    author = required(turn, "from")
    if not isinstance(author, str) or author not in ROLES:
        raise DataError(f"a turn is from {brief(author)}, which is none of {', '.join(ROLES)}")
    message = {name: turn[name] for name in turn if name not in ("from", "value")}
    message.update(role=ROLES[author], content=required(turn, "value"))
    if author == "function_call":
        message.update(content="", tool_calls=calls_of(message["content"]))
    return message


def calls_of(value: Any) -> list[Any]:
    """Convert the text of a function call, or of a list of them, to the tool calls of a message.

    Raises:
        DataError: it is not JSON.
    """
    try:
        calls = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise DataError(f"a function call is {brief(value)}, not JSON") from None
    return calls if isinstance(calls, list) else [calls]


def written_turns(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Convert messages to turns with `from` and `value`; a turn with tool calls is a `function_call`.

    A tool's message that follows a single call needs no name and no id of its call.

    Raises:
        DataError: a message has more than a text or calls.
    """
    before = (None, *turns)
    return [_written(_unlinked(turn, previous)) for turn, previous in zip(turns, before, strict=False)]


def _unlinked(turn: Message, previous: Message | None) -> Message:
    """Return a tool's message without the links that the call before it implies."""
    if turn.role != "tool" or previous is None or len(previous.tool_calls) != 1:
        return turn
    call = json.loads(previous.tool_calls[0])
    implied = (turn.tool_call_id in (None, call.get("id")), turn.name in (None, call["function"]["name"]))
    return replace(turn, tool_call_id=None, name=None) if all(implied) else turn


def _written(turn: Message) -> dict[str, Any]:
    layout = "turns with from and value"
    check_plain(replace(turn, tool_calls=()), layout)
    if not turn.tool_calls:
        return {"from": NAMES[turn.role], "value": turn.content}
    if turn.content:
        raise DataError(f"{layout} have no place for a text beside tool_calls, which a turn has")
    calls = [json.loads(call)["function"] for call in turn.tool_calls]
    return {
        "from": "function_call",
        "value": json.dumps(calls if len(calls) > 1 else calls[0], ensure_ascii=False),
    }
