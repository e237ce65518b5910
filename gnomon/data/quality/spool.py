"""A temporary file of rows that can be read again by index, with a few bytes of memory for each."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any, BinaryIO


class Spool:
    """Rows as JSON lines in a temporary file.

    Args:
        path: of the file; it is created, and removed by its owner.
    """

    def __init__(self, path: Path):
        self.file: BinaryIO = path.open("w+b")
        self.starts = array("Q", [0])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.starts) - 1

    def add(self, line: bytes) -> None:
        """Append a line without its end."""
        self.file.seek(self.starts[-1])
        self.file.write(line)
        self.starts.append(self.starts[-1] + len(line))

    def line(self, index: int) -> bytes:
        """Return a line without its end."""
        self.file.seek(self.starts[index])
        return self.file.read(self.starts[index + 1] - self.starts[index])

    def row(self, index: int) -> Any:
        """Return the content of a line."""
        return json.loads(self.line(index))

    def close(self) -> None:
        """Close the file."""
        self.file.close()
