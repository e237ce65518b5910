"""What a source of data names: a file or folder, a split of one, several files by a pattern, a pipe, the hub."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.storage.leftovers import PREFIX
from gnomon.data.reading.containers.hub_datasets import hub_revision, is_hub_name
from gnomon.data.reading.containers.recognition import BY_ENDING
from gnomon.data.reading.content import data_suffix
from gnomon.data.reading.side_files import without_side_files
from gnomon.data.reading.standard_input import copy_of_pipe, is_pipe


def is_data_file(name: str) -> bool:
    """Return whether a name has the ending of a data file, compressed or not."""
    return data_suffix(name) in BY_ENDING


def locate(path: Path) -> tuple[Path, str | None]:
    """Split a path into the file or folder and the name of the split after a `#`, if there is one."""
    before, mark, split = str(path).rpartition("#")
    if not mark or not before or os.path.exists(path):
        return path, None
    return Path(before), split


def is_pattern(path: Path) -> bool:
    """Return whether a path stands for several files: it has one of `*?[` and does not exist."""
    return glob.has_magic(str(path)) and not os.path.exists(path)


def files_of(path: Path) -> list[Path]:
    """Return the files and folders that a source names, each once, sorted; none for pipes and the hub.

    A pattern does not stand for the lists of rejected and flagged rows and the reports that Gnomon wrote.
    """
    source, _ = locate(path)
    if not is_pattern(source):
        return [source] if os.path.exists(source) and not is_pipe(source) else []
    by_file: dict[str, str] = {}  # links may lead to the same file, with ** even in a circle
    for name in sorted(glob.glob(str(source), recursive=True)):
        by_file.setdefault(os.path.realpath(name), name)
    return without_side_files(source, sorted(map(Path, by_file.values())))


def is_source(path: Path) -> bool:
    """Return whether a path names data that exists here: files, a folder or a pipe."""
    return is_pipe(locate(path)[0]) or bool(files_of(path))


def check_source(path: Path, advice: str) -> None:
    """Check that a path names data here, or a data set that the hub may have.

    Args:
        path: the path.
        advice: what to give instead.

    Raises:
        DataError: it names nothing.
    """
    if not is_source(path) and not is_hub_name(str(locate(path)[0])):
        raise DataError(f"no data at {path}; {advice}")


def digest_source(path: Path) -> str:
    """Compute the SHA-256 of a file, of a folder's or pattern's files with their names, or of a hub's commit."""
    source, _ = locate(path)
    if is_pipe(source):
        return digest_file(copy_of_pipe(source))
    if os.path.isfile(source):
        return digest_file(source)
    if os.path.isdir(source):
        return _digest_folder(source)
    if files := files_of(source):
        base = Path(os.path.commonpath([file.parent for file in files]))
        return digest_of([[file.relative_to(base).as_posix(), digest_source(file)] for file in files])
    return digest_of([str(source), hub_revision(str(source))])


def _digest_folder(folder: Path) -> str:
    """Digest a folder's files but those that Gnomon works in, as it does beside an output inside the folder."""
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    data = [file for file in files if not any(part.startswith(PREFIX) for part in file.parts)]
    return digest_of([[file.as_posix(), digest_file(folder / file)] for file in data])
