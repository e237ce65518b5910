"""The checks of each row of a file alone, by worker processes, in blocks that outlive an interrupted cleaning."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gnomon.core.errors import DataError, RunError
from gnomon.core.progress import console
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.formats.registry import RowLayout
from gnomon.data.pool import cores, is_large, ordered_map
from gnomon.data.quality.findings import Findings
from gnomon.data.quality.shard import CheckedRow, Positioned, RowChecks
from gnomon.data.quality.work.checked_rows import CheckedRows
from gnomon.data.quality.work.row_blocks import RowBlock, block_path, write_block
from gnomon.data.reading.counting import counted
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.records import own_rows

SHARD = 256  # rows that a worker process gets at once
BLOCK_ROWS, BLOCK_BYTES, BLOCK_SECONDS = 4096, 16_000_000, 10.0  # the first one reached completes a block
CheckedShard = tuple[list[CheckedRow], KeysRead]


@dataclass(frozen=True)
class _ShardWork:
    """The work of a process: checked rows, and the keys that were read."""

    checks: RowChecks

    def __call__(self, rows: Sequence[Positioned]) -> CheckedShard:
        keys = KeysRead()
        return self.checks(rows, keys), keys


@dataclass
class _OpenBlock:
    """Checked rows whose block is not complete."""

    number: int
    before: int  # rows in earlier blocks
    shards: list[CheckedShard] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        return sum(len(rows) for rows, _ in self.shards)

    @property
    def is_complete(self) -> bool:
        size = sum(len(row.line) for rows, _ in self.shards for row in rows)
        late = time.monotonic() - self.since >= BLOCK_SECONDS
        return late or size >= BLOCK_BYTES or self.rows >= BLOCK_ROWS

    def write(self, folder: Path, width: int) -> RowBlock | None:
        """Write the block, a second time with the same content; `None` without rows."""
        if not self.rows:
            return None
        keys = KeysRead()
        for _, read in self.shards:
            _merge(keys, read)
        rows = [row for checked, _ in self.shards for row in checked]
        return write_block(block_path(folder, self.number), rows, keys, width)


class FileChecks:
    """Checks each row of a file alone.

    Args:
        path: of the file or folder.
        layout: of its rows, by name.
        row_checks: of single rows.

    Attributes:
        keys: which keys the rows hold, and which were read.
        unreadable: number of rows that hold no record.
        done: number of rows that the folder of the blocks has.
    """

    def __init__(self, path: Path, layout: RowLayout, row_checks: RowChecks):
        self.path, self.layout, self.row_checks = path, layout, row_checks
        self.keys = KeysRead()
        self.unreadable = self.done = 0

    def run(self, rows: CheckedRows, findings: Findings, jobs: int | None = None) -> None:
        """Add all rows of the file: those in blocks of an interrupted cleaning, then the others, checked.

        Args:
            rows: without rows.
            findings: collects what the filters find.
            jobs: number of worker processes; `None`: one for each core, and none for a small file.
        """
        for block in rows.blocks():
            self._note(block, rows, findings)
        if self.done:
            console.print(f"  going on after {counted(self.done, 'checked rows')}", highlight=False)
        if jobs is None:
            jobs = cores() if is_large(self.path) else 1
        open_block = _OpenBlock(rows.block_count, len(rows))
        try:
            with closing(ordered_map(_ShardWork(self.row_checks), self._shards(len(rows)), jobs)) as shards:
                for shard in shards:
                    open_block.shards.append(shard)
                    if open_block.is_complete:
                        self._close(open_block, rows, findings)
                        open_block = _OpenBlock(rows.block_count, len(rows))
            self._close(open_block, rows, findings)
        except (KeyboardInterrupt, RunError):
            open_block.write(rows.folder, rows.width)  # at whichever line the stop came
            self.done = open_block.before + open_block.rows
            raise

    def _shards(self, skipped: int) -> Iterator[list[Positioned]]:
        """The rows of the file in Gnomon's own layout, some at a time, without the path in their errors."""

        def plain() -> Iterator[Positioned]:
            for where, row in own_rows(self.row_checks.kind, self.path, self.keys, self.layout):
                if isinstance(row, DataError):
                    reason = str(row).removeprefix(f"{self.path}, {where}: ").rstrip(".")
                    yield where, UnusedRow(reason) if isinstance(row, UnusedRow) else DataError(reason)
                else:
                    yield where, dict(row)

        rows = itertools.islice(plain(), skipped, None)
        while shard := list(itertools.islice(rows, SHARD)):
            yield shard

    def _close(self, open_block: _OpenBlock, rows: CheckedRows, findings: Findings) -> None:
        """Write a block, and add its rows."""
        block = open_block.write(rows.folder, rows.width)
        if block is not None:
            self._note(block, rows, findings)

    def _note(self, block: RowBlock, rows: CheckedRows, findings: Findings) -> None:
        """Add the rows of a block with their findings."""
        first = len(rows)
        rows.add(block)
        for index, name, reason in block.findings:
            findings.add(first + index, block.positions[index], name, reason)
        self.unreadable += block.unreadable
        if self.layout.format is None:  # of another format it is the format that reads the keys
            _merge(self.keys, block.keys)
        self.done = len(rows)


def _merge(keys: KeysRead, others: KeysRead) -> None:
    keys.read |= others.read
    keys.present |= others.present
