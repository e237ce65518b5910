"""Inspection of a file: every row is read once, by worker processes where the file is large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import RejectedRow
from gnomon.data.formats.own_layout import OWN_TITLE
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.inspection.outline import Outline, outline, scripts_of
from gnomon.data.pool import cores, is_large, ordered_map
from gnomon.data.reading.readers import ScannedRow, source_title
from gnomon.data.reading.row_fields import KeysRead, TrackedRow
from gnomon.data.record_kinds import KINDS, all_refused, recognize_kind, unread_keys
from gnomon.data.records import EXPECTED, NAMES, PromptIds, own_rows, parse_at
from gnomon.data.templates.control_tokens import ControlCounts

SHARD = 512  # rows that a worker process gets at once
SCRIPT_ROWS = 20_000  # records whose letters are counted by script


@dataclass(frozen=True)
class Inspection:
    """The outlines of a file's valid records, all of one kind, and its refused rows.

    Attributes:
        records: the first records, as many as were asked for.
        outlines: of all records, in the order of the file.
        container: title of the file's container.
        format: title of its format.
        evidence: why it has that format; "" where its user chose it or it is Gnomon's own.
        unread: keys that records of this kind do not use; a nested key comes after its parents, as `a.b`.
        has_tokens: whether tokens were counted.
        control_tokens: counts of control tokens in the records' texts.
        scripts: letters by script, of the first records.
        joined: number of rows that are part of the record at another row's position.
    """

    path: Path
    kind: type
    records: list[Any] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)
    refused: list[RejectedRow] = field(default_factory=list)
    container: str = ""
    format: str = OWN_TITLE
    evidence: str = ""
    unread: tuple[str, ...] = ()
    has_tokens: bool = False
    control_tokens: ControlCounts = field(default_factory=ControlCounts)
    scripts: Counter[str] = field(default_factory=Counter)
    joined: int = 0

    @property
    def rows(self) -> int:
        """Number of rows of the file that are not blank; one may hold several records."""
        own = {one.where for one in self.outlines} | {row.where for row in self.refused}
        return len(own) + self.joined


@dataclass
class _Checked:
    """The result for some rows.

    Attributes:
        entries: the outline of each valid row, the reason of each refused one.
        records: records to keep, by the index of their entry.
        keys: which keys were read.
    """

    entries: list[Outline | RejectedRow] = field(default_factory=list)
    records: dict[int, Any] = field(default_factory=dict)
    keys: KeysRead = field(default_factory=KeysRead)
    control_tokens: ControlCounts = field(default_factory=ControlCounts)
    scripts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Work:
    """What a worker process does with some rows."""

    kind: type
    path: Path
    tokenizer: Any
    most: int | None

    def __call__(self, task: tuple[int, list[ScannedRow]]) -> _Checked:
        start, rows = task
        result = _Checked()
        for number, (where, row) in enumerate(rows, start):
            try:
                if isinstance(row, DataError):
                    raise row
                record: Any = parse_at(self.kind, TrackedRow(row, result.keys), self.path, where)
                result.entries.append(outline(record, where, self.tokenizer, result.control_tokens))
            except DataError as error:
                reason = str(error).removeprefix(f"{self.path}, {where}: ")
                result.entries.append(RejectedRow(where, reason.removesuffix(f"; {EXPECTED[self.kind]}")))
                continue
            if self.most is None or len(result.records) < self.most:
                result.records[len(result.entries) - 1] = record
            if number < SCRIPT_ROWS:
                result.scripts.update(scripts_of(record))
        return result


def inspect(
    path: Path,
    tokenizer: Any = None,
    layout: RowLayout = OWN,
    *,
    records: int | None = None,
    jobs: int | None = None,
) -> Inspection:
    """Read a whole file; refused rows are collected with their reason.

    Args:
        path: of the file.
        tokenizer: of the model that will learn from it; with it, tokens are counted, and rows that its chat
            template refuses are refused.
        layout: the layout of its rows, where the user gave one.
        records: number of records to keep; `None` keeps all, which takes the memory of the whole file.
        jobs: number of worker processes; `None`: one for each core, and none for a small file.

    Raises:
        DataError: the file cannot be read, is empty, or every row of it is refused.
    """
    recognition, keys = recognize_kind(path, KINDS, layout), KeysRead()
    kind, match = recognition.kind, recognition.match
    result = Inspection(path, kind, container=source_title(path), has_tokens=tokenizer is not None)
    if match:
        result = replace(result, format=match.format.title, evidence=match.evidence)
    prompts = PromptIds()
    if jobs is None:
        jobs = cores() if records is not None and is_large(path) else 1
    work = _Work(kind, path, tokenizer, records)
    # Of a file in Gnomon's own layout the parsers read the keys, of one in another layout its format.
    rows = own_rows(kind, path, keys if match else KeysRead(), recognition.layout)
    for checked in ordered_map(work, _shards(rows), jobs):
        for index, entry in enumerate(checked.entries):
            used = _add(result, entry, prompts)
            if used and index in checked.records and (records is None or len(result.records) < records):
                result.records.append(checked.records[index])
        result.scripts.update(checked.scripts)
        result.control_tokens.merge(checked.control_tokens)
        if not match:
            keys.read |= checked.keys.read
            keys.present |= checked.keys.present
    if not result.outlines:
        reasons = [f"{row.where}: {row.reason}" for row in result.refused]
        raise DataError(f"{all_refused(path, reasons)[:-1]}; as {NAMES[kind]}, {EXPECTED[kind]}")
    return replace(result, unread=unread_keys(keys), joined=keys.joined)


def _add(result: Inspection, entry: Outline | RejectedRow, prompts: PromptIds) -> bool:
    """Add the outline of a row, or its reason if it is refused or its prompt's id stands for another prompt.

    Returns:
        Whether the row is used.
    """
    if isinstance(entry, Outline):
        conflict = entry.prompt and prompts.conflict(entry.prompt, entry.prompt_content, entry.where)
        if not conflict:
            result.outlines.append(entry)
            return True
        entry = RejectedRow(entry.where, conflict)
    reason = entry.reason.removesuffix(f"; as {result.format}.")
    result.refused.append(RejectedRow(entry.where, reason))
    return False


def _shards(rows: Iterable[ScannedRow]) -> Iterator[tuple[int, list[ScannedRow]]]:
    """Cut rows into shards, each with the number of rows before it; tracked rows become plain ones."""
    iterator, start = iter(rows), 0
    while shard := list(islice(iterator, SHARD)):
        plain = [(where, row if isinstance(row, DataError) else dict(row)) for where, row in shard]
        yield start, plain
        start += len(shard)
