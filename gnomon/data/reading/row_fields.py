"""Parsing of the values in a row: texts, numbers, lists, ids. Errors describe the fault, not its position."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from typing import Any

from gnomon.core.errors import DataError

KEYS_NAMED = 12  # keys of a row that a message about it names


def brief(value: Any) -> str:
    """Format a value in at most 60 characters, however long or deeply nested it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 40
    short.maxlist = short.maxdict = short.maxlevel = 3
    return f"{short.repr(value):.60}"


def filled(value: Any) -> bool:
    """Return whether a cell is filled; an empty text, list or object is not."""
    return value is not None and value != "" and value != [] and value != {}


def required(row: Mapping[str, Any], *keys: str) -> Any:
    """Return the value of the first of `keys` that the row has."""
    for key in keys:
        value = row.get(key)
        if value is not None:
            return value
    names = [str(key) for key, value in row.items() if filled(value)]
    more = f" and {len(names) - KEYS_NAMED} more" if len(names) > KEYS_NAMED else ""
    has = ", ".join(f"{name:.40}" for name in names[:KEYS_NAMED]) or "nothing"
    raise DataError(f"no '{keys[0]}' in it, which has {has}{more}")


def mapping(value: Any) -> Mapping[str, Any]:
    """Check that a value is a JSON object, and return it."""
    if not isinstance(value, Mapping):
        raise DataError(f"{brief(value)} is neither a text nor a JSON object")
    return value


def text(value: Any, key: str = "text") -> str:
    """Check that a value is a text that can be written as UTF-8, perhaps empty, and return it."""
    if not isinstance(value, str):
        raise DataError(f"{key}: {brief(value)} is not a text")
    check_text(value, key)
    return value


def check_text(text: str, where: str) -> None:
    """Refuse a text that cannot be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: character {error.start + 1} is half of a surrogate pair, not text; remove it."
        ) from None


def number(row: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    """Parse a number within bounds, perhaps written as text.

    Args:
        row: the row.
        key: of the number.
        default: value if the row has none.
        low: smallest valid number.
        high: largest valid number.
    """
    cell = row.get(key)
    if cell is None or cell == "":
        return default
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{key} is {brief(cell)}, not a number") from None
    if not low <= value <= high:
        raise DataError(f"{key} is {value}, outside {low} to {high}")
    return value


def truth(value: Any, key: str) -> bool:
    """Parse true or false, also as 1 and 0, and as text in a table."""
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    decided = known.get(str(value).strip().lower()) if isinstance(value, str | bool | int | float) else None
    if decided is None:
        raise DataError(f"{key} is {brief(value)}, neither true nor false")
    return decided


def listed(value: Any, key: str) -> list[Any]:
    """Parse a list, which a table holds as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise DataError(f"{key} is not a list") from None
    if not isinstance(value, list):
        raise DataError(f"{key} is not a list")
    return value


def identity(row: Mapping[str, Any], content: str) -> str:
    """Return the row's id, or one computed from its content."""
    own = row.get("id")
    return name_of(content) if own in (None, "") else text(str(own), "id")


def name_of(content: str) -> str:
    """Compute an id that equal contents share."""
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]
