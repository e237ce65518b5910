"""Progress of reading a file that takes longer than a few seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.core.progress import SHORT_SECONDS, progress

MEGABYTE = 10**6
_open = False  # one file's progress is shown at a time


@contextmanager
def reading(name: str, size: int, unit: str = "MB") -> Iterator[Callable[[int], None]]:
    """Context manager: yields a function that takes the amount read so far.

    Of several processes, as `torchrun` starts them, only the first shows the progress.

    Args:
        name: of the file.
        size: all that will be read: bytes for `MB`, else the number of that unit.
        unit: what is counted: `MB` or `rows`.
    """
    global _open
    scale = MEGABYTE if unit == "MB" else 1
    quiet = _open or size < scale or os.environ.get("RANK", "0") != "0"
    if not quiet:
        _open = True
    try:
        with progress(
            f"reading {Path(name).name}, {unit}", size // scale, quiet=quiet, after=SHORT_SECONDS
        ) as bar:
            shown = -1

            def report(amount: int) -> None:
                nonlocal shown
                if amount // scale != shown:
                    shown = amount // scale
                    bar.at(shown)

            yield report
    finally:
        if not quiet:
            _open = False
