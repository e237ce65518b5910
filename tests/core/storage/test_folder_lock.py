"""Folder locks: a second process is refused, a dead one's lock is taken over, a moved folder is detected."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import BusyError, RunError
from gnomon.core.storage import folder_lock
from gnomon.core.storage.folder_lock import NAME, SILENCE, FolderLock

HOLD = """
import sys, time
from pathlib import Path
from gnomon.core.storage.folder_lock import FolderLock
with FolderLock(Path(sys.argv[1]), "run folder"):
    print("holding", flush=True)
    time.sleep(600)
"""


def test_a_real_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    with pytest.raises(BusyError, match=f"run folder {folder} is in use by process {process.pid} since 20"):
        FolderLock(folder, "run folder").acquire()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (folder / NAME).exists()
    with FolderLock(folder, "run folder"):
        assert json.loads((folder / NAME).read_text())["pid"] == os.getpid()
    assert list(folder.iterdir()) == []


def test_one_process_cannot_hold_it_twice_and_may_take_it_again(tmp_path: Path) -> None:
    for _ in range(2):
        with FolderLock(tmp_path, "run folder"), pytest.raises(BusyError):
            FolderLock(tmp_path, "run folder").acquire()


def left_by(folder: Path, seconds: float, **changes: Any) -> None:
    """The lock's file of a process that was killed so many seconds ago."""
    about = {"pid": os.getpid(), "host": "other", "boot": "other", "started": "2026-01-01", "command": "gnomon"}
    (folder / NAME).write_text(json.dumps({**about, **changes}))
    os.utime(folder / NAME, (time.time() - seconds,) * 2)


def test_another_computer_counts_as_alive_while_it_gives_signs(tmp_path: Path) -> None:
    left_by(tmp_path, SILENCE / 4)
    with pytest.raises(BusyError, match="on other"):
        FolderLock(tmp_path, "run folder").acquire()
    left_by(tmp_path, SILENCE * 2)
    FolderLock(tmp_path, "run folder").acquire()


def test_a_dead_process_of_this_computer_is_known_at_once_whatever_its_id(tmp_path: Path) -> None:
    left_by(tmp_path, 0, boot=folder_lock._boot(), host="another-container")
    lock = FolderLock(tmp_path, "run folder")
    lock.acquire()
    lock.release()


def test_a_disk_without_locks_uses_the_modification_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    first = FolderLock(tmp_path, "run folder", beat=0.05)
    first.acquire()
    os.utime(tmp_path / NAME, (0, 0))
    time.sleep(0.5)
    with pytest.raises(BusyError):
        FolderLock(tmp_path, "run folder").acquire()
    first.release()
    FolderLock(tmp_path, "run folder").acquire()


def test_a_folder_that_was_moved_or_removed_is_noticed(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "run", "run folder")
    lock.acquire()
    lock.check()
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="was moved or removed while this process used it"):
        lock.check()
    lock.release()
    lock.check()
    with FolderLock(tmp_path / "elsewhere", "run folder") as excinfo:
        assert not excinfo.lost


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        FolderLock(tmp_path / "file" / "run", "run folder").acquire()
