"""The work folder of a cleaning: checked rows beside its output, until the output is complete.

Unlike a temporary folder it outlives a command that was stopped or killed: the same command, known by its key,
goes on with it. A lock shows that it is in use, and only names that Gnomon writes in it are ever removed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from gnomon.core.errors import ConfigError, DataError, RunError
from gnomon.core.storage.files import write_json
from gnomon.core.storage.folder_lock import FolderLock
from gnomon.core.storage.leftovers import remove_leftovers, temporary_folder
from gnomon.core.storage.ownership import read_record, seal
from gnomon.data.quality.work.row_blocks import block_numbers, remove_blocks
from gnomon.data.quality.work.work_key import differences

NAME = re.compile(r"\.gnomon-[0-9a-f]{12}\.work")
KEY, OUTPUTS, FLAGGED = "work.json", "outputs.json", "flagged.jsonl"
PURPOSE, ADVICE = "work folder", "give another --out"


class WorkFolder:
    """Holds the work folder of an output while a command runs.

    After the command the folder is gone; if the command was stopped, or failed for a reason that may pass, such
    as a full disk, the folder stays.

    Args:
        out: the file that the command writes.
        key: digests of everything that the checked rows depend on, see `work_key`; `None` for a folder that
            never stays.
        overwrite: whether to remove rows with another key.

    Attributes:
        path: of the folder.
    """

    def __init__(self, out: Path, key: Mapping[str, str] | None, *, overwrite: bool = False):
        self.out, self.key, self.overwrite = out, key, overwrite
        self.path = work_path(out)
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.key is None:
                self.out.parent.mkdir(parents=True, exist_ok=True)
                self.path = stack.enter_context(temporary_folder(self.out.parent))
            else:
                _check_no_link(self.path)
                stack.callback(_remove_if_empty, self.path)
                stack.enter_context(FolderLock(self.path, PURPOSE, advice=ADVICE))
                self._claim(self.key)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._resources:
            may_pass = kind is not None and not issubclass(kind, DataError | ConfigError)
            if not may_pass or not block_numbers(self.path):
                _remove_files(self.path)

    def _claim(self, key: Mapping[str, str]) -> None:
        """Make the folder one of this key.

        Raises:
            ConfigError: it holds rows of another key.
        """
        remove_leftovers(self.path)
        record = read_record(self.path / KEY)
        others = differences(key, record.get("key")) if record else []
        if record and not others:
            return
        if block_numbers(self.path) and not self.overwrite:
            rows = f"{self.path} has the checked rows of an interrupted cleaning"
            if not record:
                raise ConfigError(f"{rows}, but its {KEY} is damaged; give --overwrite to start again.")
            raise ConfigError(
                f"{rows} with {' and '.join(others)}; run that command again to go on with it, or give "
                "--overwrite."
            )
        _remove_files(self.path)
        write_json(self.path / KEY, seal({"key": key, "out": self.out.name}))


def work_path(out: Path) -> Path:
    """Return the path of an output's work folder."""
    digest = hashlib.sha256(os.fsencode(out.name)).hexdigest()
    return out.with_name(f".gnomon-{digest[:12]}.work")


def remove_work(folder: Path) -> None:
    """Remove the work folders in a folder.

    Raises:
        BusyError: one is in use.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            with FolderLock(path, PURPOSE, advice="set run to another folder"):
                remove_leftovers(path)
                _remove_files(path)
            _remove_if_empty(path)


def _remove_files(folder: Path) -> None:
    """Remove what Gnomon writes in a work folder; the record of the outputs first, for they are complete."""
    (folder / OUTPUTS).unlink(missing_ok=True)
    remove_blocks(folder)
    for name in (FLAGGED, KEY):
        (folder / name).unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _check_no_link(path: Path) -> None:
    if path.is_symlink():
        raise RunError(f"{path} is a link, and Gnomon's own folder has that name; remove it.")
