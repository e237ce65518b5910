"""Reading a user's file for a command: its first row, its records, and a report of unread keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.core.progress import console
from gnomon.data.reading.counting import counted, verb
from gnomon.data.reading.readers import read_rows
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.record_kinds import unread_keys
from gnomon.data.records import NAMES, Record, read_records

REASONS = 5  # for rows that are not used, the most frequent ones are printed


def first_row(path: Path) -> Mapping[str, Any]:
    """Return the first row of a file; empty if it has none."""
    return next((row for _, row in read_rows(path)), {})


def read_reported(kind: type[Record], path: Path) -> list[Record]:
    """Read the records of a file; prints the keys that are not read."""
    keys = KeysRead()
    records = read_records(kind, path, keys)
    report_unread(path, kind, keys)
    return records


def report_unread(path: Path, kind: type, keys: KeysRead) -> None:
    """Print which keys of a file of records were not read, if there are any.

    Args:
        path: of the file.
        kind: of its records.
        keys: which keys the rows hold, and which were read.
    """
    report_keys(path, NAMES[kind], keys)


def report_keys(path: Path, kind: str, keys: KeysRead) -> None:
    """Print which keys of a file were not read, and how many rows were not used, if there are any.

    Args:
        path: of the file.
        kind: name of the kind of its rows.
        keys: which keys the rows hold, and which were read.
    """
    for reason, count in keys.unused.most_common(REASONS):
        line = f"{path}: {counted(count, 'rows')} {verb(count, 'are')} not used: {reason}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    names = ", ".join(unread_keys(keys))
    if names:
        line = f"{path}: read as {kind}; not read: {names}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def report_unused(path: Path, keys: KeysRead) -> None:
    """Print how many rows of a file hold nothing of what was read, by the reason."""
    for reason, count in keys.unused.most_common():
        line = f"{path}: {counted(count, 'rows')} {verb(count, 'are')} not used: {reason}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
