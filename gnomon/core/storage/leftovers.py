"""Temporary files and folders, held by a lock while they are in use.

A killed process leaves its temporary names behind, but not its locks. So a later start can distinguish them from
those of a live process, on this computer or on another that shares the disk, and remove them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PREFIX, FILE, FOLDER = ".gnomon-", ".part", ".parts"
_FILE = re.compile(r"\.gnomon-[a-z0-9_]{8}\.part")
_FOLDER = re.compile(r"\.gnomon-[a-z0-9_]{8}\.parts")
_cleaned: set[Path] = set()  # folders that this process has freed of leftovers


@contextmanager
def temporary_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Context manager: a locked temporary file in `folder`, open for writing; removed unless it was renamed."""
    _clean_once(folder)
    path, handle = _locked(folder)
    with os.fdopen(handle, "w+b") as file:
        try:
            yield path, file
        finally:
            if is_same_file(path, file.fileno()):
                path.unlink(missing_ok=True)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Context manager: a temporary folder inside `folder`, removed at the end with everything in it."""
    with temporary_file(folder) as (lock, _):
        path = lock.with_suffix(FOLDER)
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(folder: Path, *, deep: bool = False) -> list[Path]:
    """Remove the temporary files of killed processes in `folder`, with `deep` below it too; returns the paths.

    Symbolic links are neither followed nor removed, and files that a live process holds stay.
    """
    removed: list[Path] = []
    for root, folders, files in os.walk(folder):
        inside = Path(root)
        removed += [inside / name for name in files if _FILE.fullmatch(name) and _remove_file(inside / name)]
        left = [name for name in folders if _FOLDER.fullmatch(name)]
        removed += [inside / name for name in left if _remove_folder(inside / name)]
        folders[:] = [name for name in folders if deep and name not in left]
    return removed


def is_same_file(path: Path, handle: int) -> bool:
    """Return whether `path` still leads to the open file."""
    try:
        named, opened = os.lstat(path), os.fstat(handle)
    except OSError:
        return False
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def _clean_once(folder: Path) -> None:
    absolute = folder.absolute()
    if absolute not in _cleaned:
        _cleaned.add(absolute)
        remove_leftovers(absolute)


def _locked(folder: Path) -> tuple[Path, int]:
    """Create a locked file; retries if a cleaning process removed it before it was locked."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=PREFIX, suffix=FILE)
        with contextlib.suppress(OSError):  # a disk without locks: nobody there removes leftovers either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if is_same_file(Path(name), handle):
            return Path(name), handle
        os.close(handle)


def _remove_file(path: Path) -> bool:
    """Remove a temporary file and the folder that it locks, if no process holds it; returns whether it did."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone, a link, or another user's
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_same_file(path, handle):
            return False
        shutil.rmtree(path.with_suffix(FOLDER), ignore_errors=True)
        path.unlink(missing_ok=True)
    except OSError:  # held, or a disk without locks
        return False
    finally:
        os.close(handle)
    return True


def _remove_folder(path: Path) -> bool:
    """Remove a temporary folder whose lock is gone: a live process removes its folder before the lock."""
    if path.is_symlink() or not path.exists() or os.path.lexists(path.with_suffix(FILE)):
        return False
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()
