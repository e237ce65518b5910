"""Tracking of the keys that are read from rows: the others are reported, so that nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon.data.reading.row_fields import filled

BOOKKEEPING = frozenset({"id", "items", "token_ids"})
"""Keys that Gnomon writes and that do not affect training."""


@dataclass
class KeysRead:
    """Keys that rows hold, and those that were read; a nested key comes after its parents, as `a.b`."""

    present: dict[str, None] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

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
        if isinstance(value, dict):
            return TrackedRow(value, self.keys_read, f"{self.path}{key}.")
        if isinstance(value, list):
            inner = f"{self.path}{key}."
            return [TrackedRow(one, self.keys_read, inner) if isinstance(one, dict) else one for one in value]
        return value
