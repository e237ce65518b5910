"""Standard input and other pipes: copied once to a temporary file, so that they can be read several times."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from gnomon.core.errors import DataError

STANDARD_INPUT = "-"
_copies: dict[str, Path] = {}


def is_pipe(path: Path) -> bool:
    """Return whether a path is `-` or a named pipe, as a shell's `<(command)` makes."""
    if str(path) == STANDARD_INPUT:
        return True
    return os.path.exists(path) and path.is_fifo()


def copy_of_pipe(path: Path) -> Path:
    """Return a file with the content of a pipe, read at the first call and removed when the program ends.

    Raises:
        DataError: standard input is a terminal or closed.
    """
    name = str(path)
    if name not in _copies:
        if name == STANDARD_INPUT:
            _copies[name] = _copied(_standard_input())
        else:
            with path.open("rb") as pipe:
                _copies[name] = _copied(pipe)
    return _copies[name]


def _standard_input() -> BinaryIO:
    stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)  # a notebook's has none
    if stream is None or stream.closed or stream.isatty():
        raise DataError("nothing is piped into standard input; pipe a file, as in gnomon data inspect - < FILE.")
    return stream


def _copied(pipe: BinaryIO) -> Path:
    with tempfile.NamedTemporaryFile(prefix="gnomon-input-", delete=False) as copy:
        file = Path(copy.name)
        atexit.register(file.unlink, missing_ok=True)
        shutil.copyfileobj(pipe, copy, 1 << 20)
    return file
