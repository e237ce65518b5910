"""The values in a row: texts, numbers, lists, messages, ids. A fault says what is wrong, not where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Message
from gnomon.data.rendering import check_text

ROLES = ("system", "user", "assistant", "tool")


def required(row: Mapping[str, Any], *keys: str) -> Any:
    """The value of the first of `keys` that the row has."""
    for key in keys:
        if row.get(key) is not None:
            return row[key]
    raise DataError(f"no '{keys[0]}' in it")


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, Mapping):
        raise DataError(f"{value!r:.40} is neither a text nor a JSON object")
    return value


def text(value: Any) -> str:
    """A text that can be written as UTF-8; it may be empty."""
    if not isinstance(value, str):
        raise DataError(f"{value!r:.40} is not a text")
    check_text(value, "text")
    return value


def number(row: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    """A number within bounds, perhaps written as text; `default` where the row has none."""
    found = row.get(key)
    if found is None or found == "":
        return default
    try:
        value = float(found)
    except (TypeError, ValueError):
        raise DataError(f"{key} is {found!r:.40}, not a number") from None
    if not low <= value <= high:
        raise DataError(f"{key} is {value}, outside {low} to {high}")
    return value


def truth(value: Any, key: str) -> bool:
    """True or false, also as 1 and 0 and as the text that a table holds."""
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    found = known.get(str(value).strip().lower())
    if found is None:
        raise DataError(f"{key} is {value!r:.40}, neither true nor false")
    return found


def listed(value: Any, key: str) -> list[Any]:
    """A list; a table holds it as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise DataError(f"{key} is not a list") from None
    if not isinstance(value, list):
        raise DataError(f"{key} is not a list")
    return value


def messages(value: Any) -> tuple[Message, ...]:
    """The turns of a conversation."""
    return tuple(_message(mapping(turn)) for turn in listed(value, "messages"))


def _message(turn: Mapping[str, Any]) -> Message:
    role = required(turn, "role")
    if role not in ROLES:
        raise DataError(f"a message has the role {role!r:.40}, not a role of system, user, assistant or tool")
    if turn.get("tool_calls"):
        raise DataError("a message has tool_calls, which Gnomon does not render; write the call into its content")
    return Message(role, text(required(turn, "content")))


def identity(row: Mapping[str, Any], content: str) -> str:
    """The row's id, or one made from its content."""
    return name_of(content) if row.get("id") in (None, "") else text(str(row["id"]))


def name_of(content: str) -> str:
    """An id that equal contents share."""
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]
