"""No process waits for one that failed, died, froze or went another way; it says who that was."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KILLED, FROZEN = -signal.SIGKILL, None  # exit codes of the one that meets trouble


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that a test started, which end with it whatever happens."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(trouble: str) -> list[subprocess.Popen[str]]:
    """Two processes without a launcher, which would end the other one itself."""
    port = str(free_port())
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    shared |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo"}
    return [
        subprocess.Popen(
            [sys.executable, str(HERE / "in_trouble.py"), trouble],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "witness", "codes", "said"),
    [
        ("fails", 0, (2, 2), "process 1 stopped: the reward 'brief' failed on every completion."),
        ("the_first_fails", 1, (1, 2), "process 0 stopped: ValueError: a fault of the program"),
        ("is_killed", 0, (2, KILLED), "process 1 has given no sign of life for 3 s"),
        ("the_first_is_killed", 1, (KILLED, 2), "process 0 is gone"),
        ("is_stopped", 0, (2, FROZEN), "process 1 has given no sign of life for 3 s"),
        ("go_apart", 0, (2, 2), "waits at 'tell 1' and process 1 at 'wait 1', so neither would go on"),
        ("ends", 0, (2, 0), "process 1 at 'the end'"),
    ],
)
def test_trouble_ends_all_with_a_name(
    started: list[subprocess.Popen[str]],
    trouble: str,
    witness: int,
    codes: tuple[int | None, ...],
    said: str,
) -> None:
    begun = time.monotonic()
    started += (both := start(trouble))
    _, err = both[witness].communicate(timeout=60)
    if FROZEN in codes:
        both[codes.index(FROZEN)].kill()
    others = [p.communicate(timeout=60)[1] for p in both if p is not both[witness]]
    assert time.monotonic() - begun < 60
    found = tuple(p.returncode for p in both)
    assert all(code in (FROZEN, got) for code, got in zip(codes, found, strict=True)), f"{found}\n{err}\n{others}"
    assert said in err
    assert "Traceback" not in err


@pytest.mark.long
@pytest.mark.slow
def test_long_work_of_one_is_no_trouble(started: list[subprocess.Popen[str]]) -> None:
    started += (both := start("is_slow"))
    found = [p.communicate(timeout=60) for p in both]
    assert [p.returncode for p in both] == [0, 0], found
    assert [out for out, _ in found] == ["process 0 is done\n", "process 1 is done\n"]
