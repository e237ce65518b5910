"""Types of rows, and the decoder of JSON rows, which refuses what JSON readers usually drop."""

from __future__ import annotations

import json
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.storage.files import NO_TEXT, is_text

Row = dict[str, Any]
ScannedRow = tuple[str, Row | DataError]
"""The position of a row in its file, and the row or the reason why it cannot be read."""


class RowDecoder:
    """A JSON decoder for rows. A key that stands twice in an object is an error, not silently its last value."""

    def __init__(self) -> None:
        self._repeated: str | None = None
        self._json = json.JSONDecoder(object_pairs_hook=self._object)

    def _object(self, pairs: list[tuple[str, Any]]) -> Row:
        row = dict(pairs)
        if len(row) < len(pairs):
            keys = [key for key, _ in pairs]
            self._repeated = next(key for key in keys if keys.count(key) > 1)
        return row

    def value(self, text: str, start: int = 0) -> tuple[Any, int]:
        """Decode the JSON value at a position; returns it with the position after it.

        Raises:
            ValueError: there is no complete value, or one that is not valid.
            RecursionError: it is nested too deeply.
        """
        self._repeated = None
        return self._json.raw_decode(text, start)

    def row(self, value: Any, text: str) -> Row:
        """Check the value that was decoded last.

        Args:
            value: the value.
            text: its JSON, decoded with `surrogateescape`.

        Raises:
            DataError: it is no row; the message has neither file nor position.
        """
        if not isinstance(value, dict):
            raise DataError("not a JSON object; write each row as one.")
        if self._repeated is not None:
            raise DataError(f"the key '{self._repeated:.60}' stands twice in an object; keep one of them.")
        if "\\u" in text and not is_text(value):
            raise DataError(NO_TEXT)
        return value
