"""Block files: some thousand checked rows each, complete or absent, so that an interrupted cleaning goes on.

A block has three sections: a line of JSON about the rows, with digests of all sections; the features; the lines
of the rows one after another.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gnomon.core.storage.files import atomically
from gnomon.core.storage.ownership import seal
from gnomon.data.quality.contract import Digests
from gnomon.data.quality.lines import rejected_line
from gnomon.data.quality.shard import UNREADABLE, CheckedRow
from gnomon.data.reading.row_fields import KeysRead

CHUNK = 1 << 20  # bytes that are read at a time
NUMBERS = np.dtype("<u8")
BLOCK_NAME = re.compile(r"(\d{6,})\.rows")


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of a file after the checks of each alone.

    Attributes:
        path: of the block file.
        start: position of the first line in it.
        sizes: bytes of the line of each row.
        positions: of the rows in their file.
        rejected: 1 for a row whose line is one of `rejected.jsonl`, else 0.
        unreadable: number of rows that hold no record.
        findings: index of a row in the block, name of a filter, reason; in the order of the rows.
        keys: which keys the rows hold, and which were read.
        features: `[N, width]`.
    """

    path: Path
    start: int
    sizes: Sequence[int]
    positions: Sequence[str]
    rejected: bytes
    unreadable: int
    findings: Sequence[tuple[int, str, str]]
    keys: KeysRead
    features: Digests


def write_block(path: Path, rows: Sequence[CheckedRow], keys: KeysRead, width: int) -> RowBlock:
    """Write a block file, as a whole or not at all.

    Args:
        path: of the file.
        rows: the checked rows.
        keys: which keys they hold, and which were read.
        width: numbers of a row's features.
    """
    lines = [
        row.line if row.rejected is None else rejected_line(row.where, row.rejected, row.line) for row in rows
    ]
    numbers = itertools.chain.from_iterable(row.features or (0,) * width for row in rows)
    features = np.fromiter(numbers, NUMBERS, count=len(rows) * width).reshape(-1, width)
    header: dict[str, Any] = {
        "sizes": [len(line) for line in lines],
        "positions": [row.where for row in rows],
        "rejected": [int(row.rejected is not None) for row in rows],
        "unreadable": sum(row.rejected is not None and row.rejected.filter == UNREADABLE for row in rows),
        "findings": [(index, *finding) for index, row in enumerate(rows) for finding in row.findings],
        "present": list(keys.present),
        "read": sorted(keys.read),
        "content": _digest((features.tobytes(), *lines)),
    }
    text = json.dumps(seal(header)).encode() + b"\n"
    with atomically(path) as file:
        file.write(text)
        file.write(features.tobytes())
        file.writelines(lines)
    return _block(path, len(text), header, features)


def read_block(path: Path, width: int) -> RowBlock | None:
    """Read what is known of the rows of a block file; `None` if it is not as it was written.

    Args:
        path: of the file.
        width: numbers of a row's features.
    """
    with suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
        text = file.readline()
        header = json.loads(text)
        if not isinstance(header, dict) or seal(header) != header:
            return None
        content = file.read(len(header["sizes"]) * width * NUMBERS.itemsize)
        if _digest(itertools.chain((content,), _chunks(file))) != header["content"]:
            return None
        return _block(path, len(text), header, np.frombuffer(content, NUMBERS).reshape(-1, width))
    return None


def block_path(folder: Path, number: int) -> Path:
    """Return the path of a block file, counted from 0."""
    return folder / f"{number:06}.rows"


def block_numbers(folder: Path) -> list[int]:
    """Return the numbers of the block files in a folder, sorted."""
    return sorted(int(match[1]) for path in folder.iterdir() if (match := BLOCK_NAME.fullmatch(path.name)))


def count_rows(folder: Path, width: int) -> int:
    """Count the rows of the block files in a folder, up to a missing or damaged one.

    Args:
        folder: of the blocks.
        width: numbers of a row's features.
    """
    rows = 0
    for number in itertools.count():
        block = read_block(block_path(folder, number), width)
        if block is None:
            break
        rows += len(block.positions)
    return rows


def remove_blocks(folder: Path, first: int = 0) -> None:
    """Remove the block files of a folder from a number on, the last ones first: what is left is a start."""
    for number in reversed(block_numbers(folder)):
        if number >= first:
            block_path(folder, number).unlink(missing_ok=True)


def _block(path: Path, header_size: int, header: dict[str, Any], features: Digests) -> RowBlock:
    return RowBlock(
        path=path,
        start=header_size + features.nbytes,
        sizes=header["sizes"],
        positions=header["positions"],
        rejected=bytes(header["rejected"]),
        unreadable=header["unreadable"],
        findings=[(index, name, reason) for index, name, reason in header["findings"]],
        keys=KeysRead(dict.fromkeys(header["present"]), set(header["read"])),
        features=features,
    )


def _digest(pieces: Iterable[bytes]) -> str:
    content = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        content.update(piece)
    return content.hexdigest()


def _chunks(file: BinaryIO) -> Iterable[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
