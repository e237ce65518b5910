"""Reading a user's file for a command: its first row, records, unread keys, and records that no model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.types import RatedText, RejectedRow
from gnomon.data.encoding import REFUSED_CHARACTERS
from gnomon.data.reading.counting import counted, verb
from gnomon.data.reading.media.parts import media_reason
from gnomon.data.reading.readers import read_rows
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.record_kinds import all_refused, unread_keys
from gnomon.data.records import NAMES, Record, prompt_of_record, read_records, record_media
from gnomon.data.templates.rendering import prompt_label

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


def readable_records(
    records_by_source: Mapping[str, Sequence[Record]], stage: str, *, report: bool = True
) -> tuple[dict[str, list[Record]], list[RejectedRow]]:
    """Return the records of each source that are text alone, and the others as rejected rows.

    Args:
        records_by_source: the records of each source, as the recipe names it.
        stage: name of the stage, for messages.
        report: print how many rows of a source are rejected.

    Raises:
        DataError: every record of a source is rejected.
    """
    readable: dict[str, list[Record]] = {}
    rejected: list[RejectedRow] = []
    for source, records in records_by_source.items():
        refused = [_rejected(record) for record in records if record_media(record)]
        if refused and len(refused) == len(records):
            reasons = [f"{row.where}: {row.reason}" for row in refused]
            raise DataError(f"stage '{stage}': {all_refused(Path(source), reasons)}")
        if refused and report:
            first = f"{refused[0].where}: {refused[0].reason}".removeprefix(f"{Path(source)}, ")
            message = f"  {len(refused)} of {len(records)} rows of {source} refused, the first at {first}"
            console.print(message, markup=False, highlight=False, soft_wrap=True)
        readable[source] = [record for record in records if not record_media(record)]
        rejected += refused
    return readable, rejected


def _rejected(record: Any) -> RejectedRow:
    """Return a record with media as a rejected row with a text of it."""
    prompt = prompt_of_record(record)
    assert prompt is not None, "only a prompt or its completions have media"
    text = record.text if isinstance(record, RatedText) else prompt.messages[-1].content
    reason = f"{media_reason(record_media(record))}; remove the row"
    return RejectedRow(record.where or prompt_label(prompt), reason, text[:REFUSED_CHARACTERS])
