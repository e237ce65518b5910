"""The ordered map over worker processes: order, errors, and workers that end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon.data.pool import WATCH_SECONDS, ordered_map

KILLED = """
import os, signal, sys, time
from pathlib import Path
from gnomon.data.pool import ordered_map

def work(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(600 if (folder / "wait").exists() else 0.05)
    return folder

next(ordered_map(work, [Path(sys.argv[1])] * 40, jobs=2))
(Path(sys.argv[1]) / "wait").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


def square(number: int) -> int:
    """The square, later for smaller numbers."""
    time.sleep(0.01 * (4 - number % 4))
    return number**2


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_have_the_order_of_their_tasks(jobs: int) -> None:
    assert list(ordered_map(square, range(12), jobs)) == [n**2 for n in range(12)]
    assert list(ordered_map(square, [], jobs)) == []


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.long
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    folder = tmp_path / "workers"
    folder.mkdir()
    assert subprocess.run([sys.executable, script, folder], check=False).returncode == -signal.SIGKILL
    workers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    assert workers
    deadline = time.monotonic() + 10 * WATCH_SECONDS + 20
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_alive, workers))
