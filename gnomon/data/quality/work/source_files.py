"""The files of a source before it is read: a digest of their content, and whether they changed meanwhile."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest_of
from gnomon.core.storage.leftovers import PREFIX
from gnomon.data.reading.content import data_suffix
from gnomon.data.reading.sources import digest_source, files_of, is_pattern, locate
from gnomon.data.reading.standard_input import is_pipe

CHUNK = 1 << 20  # bytes that are read at a time


class SourceFiles:
    """The files of a source, as they are when this object is made. Pipes and data sets of the hub have none.

    Args:
        path: of the source.
    """

    def __init__(self, path: Path):
        self.path = path
        self._source, self._split = locate(path)
        self._versions = {file: _Version.of(file) for file in _plain_files(path)}
        self._digests: dict[Path, str] = {}

    def digest(self) -> str:
        """Compute the SHA-256 of the content, and of those names that the rows or their positions depend on.

        These are the ending of a single file, the names inside a folder, and the paths of a pattern's files.
        """
        self._digests = {file: _digest_start(file, version.size) for file, version in self._versions.items()}
        content = [[self._name(file), digest] for file, digest in self._digests.items()]
        others = [one for one in files_of(self.path) if is_pipe(one)]
        if not content and not others:
            others = [self.path]
        return digest_of([self._split and ascii(self._split), content, [digest_source(one) for one in others]])

    def check(self) -> None:
        """Check that each file is as it was, or has only grown at its end.

        Raises:
            DataError: one has changed.
        """
        for file, version in self._versions.items():
            if not self._is_intact(file, version):
                raise DataError(
                    f"{file} changed while it was read, and no row of it was kept; run the same command again "
                    "when no other program writes the file."
                )

    def _is_intact(self, file: Path, version: _Version) -> bool:
        try:
            latest = _Version.of(file)
            if latest == version:
                return True
            # What another program appends is no change: a file is read up to its size when it was opened.
            grew = latest.inode == version.inode and latest.size > version.size
            return grew and _digest_start(file, version.size) == self._digests.get(file)
        except OSError:
            return False

    def _name(self, file: Path) -> str:
        if is_pattern(self._source):
            return ascii(str(file))
        return data_suffix(file.name) if file == self._source else ascii(str(file.relative_to(self._source)))


class _Version(NamedTuple):
    """What changes when a file is written or replaced."""

    inode: tuple[int, int]
    size: int
    changed: int

    @classmethod
    def of(cls, file: Path) -> Self:
        facts = file.stat()
        return cls((facts.st_dev, facts.st_ino), facts.st_size, facts.st_mtime_ns)


def _plain_files(path: Path) -> Iterator[Path]:
    """Yield the plain files of a source, of a folder all but those that Gnomon works in."""
    for one in files_of(path):
        if os.path.isfile(one):
            yield one
        elif one.is_dir():
            inside = sorted(file for file in one.rglob("*") if file.is_file())
            yield from (f for f in inside if not any(p.startswith(PREFIX) for p in f.relative_to(one).parts))


def _digest_start(file: Path, size: int) -> str:
    """Compute the SHA-256 of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while size > 0 and (chunk := stream.read(min(CHUNK, size))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()
