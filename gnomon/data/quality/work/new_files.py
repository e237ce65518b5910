"""The files of a cleaning: they take their names one right after the other when all of them are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from gnomon.core.storage.files import atomically, write_json
from gnomon.core.storage.ownership import read_record, seal
from gnomon.data.quality.work.work_folder import OUTPUTS, work_path


class NewFiles:
    """New files of a cleaning, opened for writing.

    Args:
        paths: of the files by what they hold.
        stack: closes each file, under its name if all went well.
    """

    def __init__(self, paths: Mapping[str, Path], stack: ExitStack):
        self.paths, self.stack = paths, stack
        self.open_files: dict[str, BinaryIO] = {}

    def open(self, key: str) -> BinaryIO:
        """Open a file; one that is not opened will not exist."""
        self.open_files[key] = self.stack.enter_context(atomically(self.paths[key]))
        return self.open_files[key]

    def record(self, folder: Path) -> None:
        """Record the finished files in a work folder, so that `wrote_outputs` knows them under their names."""
        for file in self.open_files.values():
            file.flush()
        facts = {self.paths[key].name: _facts(os.fstat(file.fileno())) for key, file in self.open_files.items()}
        write_json(folder / OUTPUTS, seal({"files": facts}))


@contextmanager
def new_files(paths: Mapping[str, Path], folder: Path) -> Iterator[NewFiles]:
    """Context manager: files that replace former ones at its end; former ones without a new one are removed.

    Args:
        paths: of the files by what they hold.
        folder: the work folder.
    """
    with ExitStack() as stack:
        files = NewFiles(paths, stack)
        yield files
        files.record(folder)
    for key in paths.keys() - files.open_files.keys():
        paths[key].unlink(missing_ok=True)


def wrote_outputs(paths: Mapping[str, Path]) -> bool:
    """Return whether all files that exist are those of a cleaning that was killed while they took their names.

    Args:
        paths: of the files by what they hold.
    """
    folder = work_path(paths["clean"])
    record = None if folder.is_symlink() else read_record(folder / OUTPUTS)
    present = [path for path in paths.values() if os.path.lexists(path)]
    return record is not None and all(
        _facts(os.lstat(path)) == record.get("files", {}).get(path.name) for path in present
    )


def _facts(status: os.stat_result) -> list[int]:
    """What distinguishes a file from others, and stays when it is renamed."""
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]
