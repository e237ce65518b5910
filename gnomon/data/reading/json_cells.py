"""Decoding of cells that hold JSON as text, as in tables and doubly encoded files."""

from __future__ import annotations

import json
import re
from typing import Any

from gnomon.core.errors import DataError

COLUMNS = ("prompt", "messages", "completion", "chosen", "rejected", "completions", "turns")
_LOOKS_LIKE_MESSAGES = re.compile(r"""\A\s*[\[{].{0,2000}?['"](role|messages)['"]\s*:""", re.DOTALL)


def decode_cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with texts that are JSON of messages replaced by these messages.

    Texts that are other JSON stay texts. So does the content of a message.

    Raises:
        DataError: a text starts like a list of messages and is no JSON.
    """
    decoded: dict[str, Any] = {}
    for key in COLUMNS:
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
    return (
        value if _is_conversation(value) or (key in ("messages", "turns") and isinstance(value, list)) else cell
    )


def _is_conversation(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, dict) for one in value) and any("role" in one for one in value)
    if isinstance(value, dict):
        return (
            isinstance(value.get("messages") or value.get("turns"), list) or {"role", "content"} <= value.keys()
        )
    return False
