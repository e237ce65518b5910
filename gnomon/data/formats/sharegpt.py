"""Conversations as ShareGPT has them: turns with `from` and `value`.

https://github.com/lm-sys/FastChat reads and writes the same layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Message
from gnomon.data.formats.contract import Format
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
}
NAMES = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


class ShareGPT(Format):
    """Conversations of `{"from": "human", "value": "…"}` under `conversations`."""

    name = "sharegpt"
    title = "ShareGPT conversations"
    kinds = (Demonstration,)
    writes = (Demonstration,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A list of turns with `from` and `value`, and no second answer beside it."""
        if has_turns(row.get("conversations")) and row.get("chosen") is None:
            return "conversations holds turns with from and value"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Rename the turns' keys and roles."""
        own: Row = {"messages": turns_of(required(row, "conversations"), "conversations")}
        if row.get("system") is not None:
            own["system"] = row["system"]
        yield own

    def write(self, record: Demonstration) -> Row:
        """Write prompt and completion as one conversation."""
        completion = record.completion
        turns = completion.turns or (Message("assistant", completion.text),)
        return {"conversations": [_written(turn) for turn in (*record.prompt.messages, *turns)]}


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
    return [_message(mapping(turn)) for turn in listed(value, key)]


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    author = required(turn, "from")
    if author not in ROLES:
        raise DataError(f"a turn is from {brief(author)}, which is none of {', '.join(ROLES)}")
    others = {name: turn[name] for name in turn if name not in ("from", "value")}
    return {**others, "role": ROLES[author], "content": required(turn, "value")}


def _written(turn: Message) -> dict[str, Any]:
    if turn.reasoning_content is not None or turn.train is not None:
        raise DataError("ShareGPT conversations have neither reasoning nor marks of turns to be learned")
    return {"from": NAMES[turn.role], "value": turn.content}
