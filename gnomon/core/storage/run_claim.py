"""A run's claim on its folder: one process at a time, no other files, and no leftovers after a refusal."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from gnomon.core.errors import RunError
from gnomon.core.storage.files import write_atomically
from gnomon.core.storage.folder_lock import FolderLock
from gnomon.core.storage.leftovers import remove_leftovers
from gnomon.core.storage.ownership import entries, listed, set_aside
from gnomon.core.storage.sealed_files import RUN_FILES, adopt_run, check_sealed, is_run

MANIFESTS = "manifests"
FROM_A_COMPARISON = {"recipe.yaml", "log.txt"}  # a comparison writes them before the run begins; no run does
# Files whose loss costs a stage nothing.
WORTHLESS = {"stage.json", "rejected.jsonl", "reward_failures.jsonl", "room.json"}
GROWING = {"metrics.jsonl", "samples.jsonl"}  # worthless while they are empty


class RunClaim:
    """Holds a run folder while it runs.

    Args:
        folder: folder of the run; created if missing.
        stages: names of its stages, which have folders in it.
        inputs: files and folders that the run reads; they may be in the folder of a new run.
    """

    def __init__(self, folder: Path, stages: Sequence[str], inputs: Collection[Path] = ()):
        self.folder, self.stages, self.inputs = folder, tuple(stages), inputs
        self.lock = FolderLock(folder, "run folder")
        self._missing: list[Path] = []  # folders that this start created
        self._before: dict[Path, bytes | None] = {}  # files of the run as they were before this start
        # The stage that began last: its folder, whether it is new, the renamed former folder.
        self._stage: tuple[Path, bool, Path | None] | None = None
        self._settled = False  # whether a stage has ended in this start

    def __enter__(self) -> Self:
        self._missing = [path for path in (self.folder, *self.folder.parents) if not os.path.lexists(path)]
        self._check()
        self.lock.acquire()
        try:
            remove_leftovers(self.folder, deep=True)
            self._check()
            adopt_run(self.folder)
            for name in RUN_FILES:
                check_sealed(self.folder / name)
        except BaseException:
            self.lock.release()
            self._remove_empty()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lock.release()
        if kind is not None:
            self._remove_empty()

    def back_up(self, name: str) -> Path:
        """Return the path of a file that is about to be written, after storing its content for `undo`."""
        path = self.folder / name
        if path not in self._before:
            self._before[path] = path.read_bytes() if path.is_file() else None
        return path

    def write_input(self, name: str, content: bytes) -> None:
        """Write rows of the calling program; a different file of that name is renamed."""
        path = self.folder / name
        if os.path.lexists(path) and not path.is_symlink() and path.is_file() and path.read_bytes() == content:
            return
        if os.path.lexists(path):
            set_aside(path)
        write_atomically(self.back_up(name), content)

    def begin_stage(self, folder: Path, aside: Path | None) -> None:
        """Record that a stage begins: its folder, and the new path of a renamed former one."""
        self._stage = (folder, aside is not None or not folder.exists(), aside)

    def end_stage(self) -> None:
        """Record that a stage has ended: `undo` no longer removes the files of this start."""
        self._stage, self._settled = None, True

    def undo(self) -> None:
        """After a refusal: remove the files of this start, if they hold no work, and restore the former ones."""
        if self.lock.lost:
            return
        if self._stage is not None:
            folder, new, aside = self._stage
            if not new or not remove_worthless(folder):
                return
            if aside is not None and not folder.exists():
                os.replace(aside, folder)
        if self._settled:
            return
        with suppress(OSError):  # for example a full disk: each file is then complete, the former or the new one
            for path, content in self._before.items():
                if content is None:
                    path.unlink(missing_ok=True)
                elif path.read_bytes() != content:
                    write_atomically(path, content)
            (self.folder / MANIFESTS).rmdir()

    def _check(self) -> None:
        """Refuse a folder that is no run and holds files that the run does not read."""
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise RunError(
                f"the run folder {self.folder} cannot be written (it is no folder); set run to another."
            )
        if is_run(self.folder):
            return
        read = {part for path in self.inputs for part in (path.resolve(), *path.resolve().parents)}
        ours = {*RUN_FILES, MANIFESTS, *self.stages}
        here = self.folder.resolve()
        others = [
            name
            for name in entries(self.folder)
            if name in ours or not (here / name in read or name in FROM_A_COMPARISON)
        ]
        if others:
            raise RunError(
                f"the run folder {self.folder} holds {listed(others)}, which no run of Gnomon wrote; "
                "set run to a folder that is empty or does not exist."
            )

    def _remove_empty(self) -> None:
        for path in self._missing:
            with suppress(OSError):
                path.rmdir()


def remove_worthless(folder: Path) -> bool:
    """Remove a stage's folder if it holds no work yet; returns whether it did."""
    files = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    for path in files:
        tracked = path.parent.name == "tensorboard" and path.name.startswith("events.out.tfevents")
        empty = path.name in GROWING and path.stat().st_size == 0
        if path.is_symlink() or not (path.name in WORTHLESS or empty or tracked):
            return False
    for path in files:
        path.unlink()
    for root, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(root).rmdir()
    return not folder.exists()
