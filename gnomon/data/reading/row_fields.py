"""Cells of a row: JSON in texts, checked values, keys that were read. Errors name the fault, not its position."""

from __future__ import annotations

import hashlib
import json
import math
import re
import reprlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon.core.errors import DataError

KEYS_NAMED = 12  # keys of a row that a message about it names
LIST_COLUMNS = (  # columns that hold lists, whichever layout has them
    "messages", "turns", "conversations", "conversation", "context_messages", "chosen_messages",
    "rejected_messages", "history", "instances",
)  # fmt: skip
MESSAGE_COLUMNS = ("prompt", "completion", "chosen", "rejected", "completions", "input", "output", *LIST_COLUMNS)
BOOKKEEPING = frozenset({"id", "items", "token_ids", "provenance"})
"""Keys that Gnomon writes and that do not affect training."""
_LOOKS_LIKE_MESSAGES = re.compile(r"""\A\s*[\[{].{0,2000}?['"](role|messages|from)['"]\s*:""", re.DOTALL)


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
    """Return the value of the first of `keys` that the row has.

    Raises:
        DataError: it has none of them, or null in their place.
    """
    for key in keys:
        value = row.get(key)
        if value is not None:
            return value
    empty = next((key for key in keys if key in row), None)
    if empty is not None:
        raise DataError(f"'{empty}' is null")
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


def finite(value: Any, key: str) -> float:
    """Parse a finite number, which a table holds as text.

    Raises:
        DataError: it is none.
    """
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if isinstance(value, bool) or not math.isfinite(score):
        raise DataError(f"{key} is {brief(value)}, not a finite number")
    return score


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


def decode_cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with texts that are JSON of messages replaced by these messages.

    Texts that are other JSON stay texts. So does the content of a message.

    Raises:
        DataError: a text starts like a list of messages and is no JSON.
    """
    decoded: dict[str, Any] = {}
    for key in MESSAGE_COLUMNS:
        value = row.get(key)
        if isinstance(value, str):
            content = _decoded(value, key)
        elif key == "completions" and isinstance(value, list):
            content = [_decoded(one, key) if isinstance(one, str) else one for one in value]
        else:
            continue
        if content is not value:
            decoded[key] = content
    return {**row, **decoded} if decoded else row


def is_conversation_text(cell: str) -> bool:
    """Return whether a text is JSON of messages."""
    return not isinstance(_decoded(cell, "text"), str)


def _decoded(cell: str, key: str) -> Any:
    if not cell[:64].lstrip().startswith(("[", "{")):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError) as error:
        if _LOOKS_LIKE_MESSAGES.match(cell):
            reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
            raise DataError(
                f"{key} starts like a list of messages but is not JSON ({reason}); write it with double quotes, "
                "as json.dumps does"
            ) from None
        return cell
    if key == "completions" and isinstance(value, list):
        return [_decoded(one, key) if isinstance(one, str) else one for one in value]
    return value if _is_conversation(value) or (key in LIST_COLUMNS and isinstance(value, list)) else cell


def _is_turn(value: dict[str, Any]) -> bool:
    return "role" in value or {"from", "value"} <= value.keys()


def _is_conversation(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, dict) for one in value) and any(map(_is_turn, value))
    if isinstance(value, dict):
        return (
            isinstance(value.get("messages") or value.get("turns"), list) or {"role", "content"} <= value.keys()
        )
    return False


@dataclass
class KeysRead:
    """Keys that rows hold, and those that were read; a nested key comes after its parents, as `a.b`.

    Attributes:
        unused: rows that hold no record of the wanted kind, by the reason.
        joined: number of rows that are part of the record at another row's position.
    """

    present: dict[str, None] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    unused: Counter[str] = field(default_factory=Counter)
    joined: int = 0

    def unread(self) -> list[str]:
        """Return the filled keys that were not read, in the order of the file."""
        return [key for key in self.present if key not in self.read and key.rpartition(".")[2] not in BOOKKEEPING]


class TrackedRow(dict[str, Any]):
    """A row that records which of its keys are read, including those of nested objects.

    Args:
        row: the row.
        keys: the record, for all rows of a file.
        path: prefix of its keys: empty, or that of the parents with a dot at its end.
    """

    def __init__(self, row: Mapping[str, Any], keys: KeysRead, path: str = ""):
        super().__init__(row)
        self.keys_read, self.path = keys, path
        for key, value in row.items():
            if filled(value):
                keys.present.setdefault(f"{path}{key}")

    def get(self, key: str, otherwise: Any = None) -> Any:
        """Return the value of a key as a dict does, and record the key as read."""
        self.keys_read.read.add(f"{self.path}{key}")
        return self._tracked(super().get(key, otherwise), key)

    def __getitem__(self, key: str) -> Any:
        self.keys_read.read.add(f"{self.path}{key}")
        return self._tracked(super().__getitem__(key), key)

    def __contains__(self, key: object) -> bool:
        self.keys_read.read.add(f"{self.path}{key}")
        return super().__contains__(key)

    def _tracked(self, value: Any, key: str) -> Any:
        """Track the keys of nested objects; those that a format took from the file are tracked already."""
        if isinstance(value, list):
            return [self._tracked(one, key) if isinstance(one, dict) else one for one in value]
        if isinstance(value, dict) and not isinstance(value, TrackedRow):
            return TrackedRow(value, self.keys_read, f"{self.path}{key}.")
        return value


def with_cells(row: Mapping[str, Any], cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row that has some cells alone; the keys that are read of it count as read in the whole row.

    Args:
        row: the whole row.
        cells: the cells by key, perhaps decoded.
    """
    return TrackedRow(cells, row.keys_read, row.path) if isinstance(row, TrackedRow) else dict(cells)


def note_unread(row: Mapping[str, Any], part: str) -> None:
    """Record a part of a row's cell as not read, where its key is read.

    Args:
        row: the row; nothing is recorded if its keys are not tracked.
        part: name of the part.
    """
    if isinstance(row, TrackedRow):
        row.keys_read.present.setdefault(f"{row.path}{part}")
