"""The rows of a file after the checks of each alone: in block files, with a few numbers of each in memory."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, count
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from gnomon.data.quality.contract import Digests
from gnomon.data.quality.work.row_blocks import RowBlock, block_path, read_block, remove_blocks


class CheckedRows:
    """The rows of a file in the blocks of a folder, in their order; each can be read again.

    Args:
        folder: of the blocks.
        width: numbers of a row's features.

    Attributes:
        positions: of the rows in their file.
    """

    def __init__(self, folder: Path, width: int):
        self.folder, self.width = folder, width
        self.positions: list[str] = []
        self._rejected = bytearray()
        self._numbers = array("Q")
        self._bounds = array("Q")  # of the lines in their block file: of each block one more than it has rows
        self._paths: list[Path] = []  # of each block
        self._first_rows: list[int] = []  # of each block
        self._open: tuple[int, BinaryIO] | None = None  # the block that was read last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.positions)

    @property
    def block_count(self) -> int:
        """Number of blocks."""
        return len(self._paths)

    @property
    def features(self) -> Digests:
        """The numbers of all rows, `[N, width]`."""
        return np.frombuffer(self._numbers, np.uint64).reshape(-1, self.width)

    @property
    def remaining(self) -> NDArray[np.bool_]:
        """Rows that are not rejected, `[N]`."""
        return ~np.frombuffer(bytes(self._rejected), np.bool_)

    def is_rejected(self, index: int) -> bool:
        """Return whether a row's line is one of `rejected.jsonl`."""
        return bool(self._rejected[index])

    def blocks(self) -> Iterator[RowBlock]:
        """Yield the blocks of an interrupted cleaning; what follows a missing or damaged one is removed."""
        for number in count():
            block = read_block(block_path(self.folder, number), self.width)
            if block is None:
                remove_blocks(self.folder, number)
                return
            yield block

    def add(self, block: RowBlock) -> None:
        """Append the rows of a block."""
        self._first_rows.append(len(self.positions))
        self._bounds.extend(accumulate(block.sizes, initial=block.start))
        self._paths.append(block.path)
        self._rejected.extend(block.rejected)
        self._numbers.frombytes(block.features.astype(np.uint64).tobytes())
        self.positions.extend(block.positions)

    def line(self, index: int) -> bytes:
        """Read a row's line, without its end."""
        number = bisect_right(self._first_rows, index) - 1
        if self._open is None or self._open[0] != number:
            self._close()
            self._open = (number, self._paths[number].open("rb"))
        # A block has one bound more than it has rows.
        start, end = self._bounds[index + number], self._bounds[index + number + 1]
        file = self._open[1]
        file.seek(start)
        return file.read(end - start)

    def row(self, index: int) -> Any:
        """Read the content of a row's line."""
        return json.loads(self.line(index))

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None
