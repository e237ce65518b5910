"""Caches of limited size: the least recently used entries are removed first."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def remove_least_recent(entries: Iterable[tuple[Path, ...]], limit: int, used: Path) -> None:
    """Remove the least recently used entries beyond a size.

    Args:
        entries: the files of each; the time of the first one is that of the last use.
        limit: bytes of all files together.
        used: first file of an entry that stays, whatever its size.
    """
    sized: list[tuple[float, int, tuple[Path, ...]]] = []
    for files in entries:
        with suppress(FileNotFoundError):  # another process removed it
            sized.append((files[0].stat().st_mtime, sum(file.stat().st_size for file in files), files))
    total = 0
    for _, size, files in sorted(sized, reverse=True):
        total += size
        if total > limit and files[0] != used:
            for file in files:
                file.unlink(missing_ok=True)
