"""Temporary files: removed at the end or by a later start, never taken from a live process or a user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from leftover_names import is_leftover_name

from gnomon.core.storage.leftovers import remove_leftovers, temporary_file, temporary_folder

HOLD = """
import sys, time
from pathlib import Path
from gnomon.core.storage.leftovers import temporary_file, temporary_folder
with temporary_file(Path(sys.argv[1])), temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "inside").write_text("half")
    print("holding", flush=True)
    time.sleep(600)
"""


def holding(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def test_temporary_names_are_removed_after_success_and_failure(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        (folder / "deep").mkdir()
        assert all(is_leftover_name(path.name) for path in tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), temporary_file(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_names_that_go_and_a_live_one_keeps_its_own(tmp_path: Path) -> None:
    killed, alive = holding(tmp_path), holding(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len(list(tmp_path.iterdir())) == 6
    removed = remove_leftovers(tmp_path)
    assert len(removed) == 2, "a file, and another that is the lock of a folder"
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 3
    assert (next(tmp_path.glob("*.parts")) / "inside").read_text() == "half"
    alive.send_signal(signal.SIGKILL)
    alive.communicate()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_gnomons_own_names_go(tmp_path: Path) -> None:
    foreign = [
        ".gnomon-abcdefgh.part.bak",
        ".gnomon-.part",
        ".environment.json.1a2b3c4d",
        "tmpabcd1234",
        "partial-x",
    ]
    for name in foreign:
        (tmp_path / name).write_text("mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / ".gnomon-aaaaaaaa.parts").symlink_to(outside)
    (inside / ".gnomon-aaaaaaab.part").symlink_to(outside / "file")
    (inside / ".gnomon-aaaaaaac.parts").mkdir()
    (inside / ".gnomon-aaaaaaad.part").write_text("half")
    remove_leftovers(tmp_path)
    assert (inside / ".gnomon-aaaaaaad.part").exists(), "only `deep` looks below"
    remove_leftovers(tmp_path, deep=True)
    assert all((tmp_path / name).read_text() == "mine" for name in foreign)
    assert (outside / "file").read_text() == "mine"
    assert sorted(os.listdir(inside)) == [".gnomon-aaaaaaaa.parts", ".gnomon-aaaaaaab.part"]
