"""One process of two, which meets trouble or sees the other meet it. Started by `test_fellows.py`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from gnomon.core.errors import GnomonError, RunError
from gnomon.training.runtime.distributed import Processes


def fails(processes: Processes) -> None:
    if processes.rank == 1:
        raise RunError("the reward 'brief' failed on every completion.")
    processes.barrier()


def the_first_fails(processes: Processes) -> None:
    if processes.main:
        raise ValueError("a fault of the program")
    processes.unshard([1], 2)


def is_killed(processes: Processes) -> None:
    if processes.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    processes.all_gather("mine")


def the_first_is_killed(processes: Processes) -> None:
    if processes.main:
        os.kill(os.getpid(), signal.SIGKILL)
    processes.barrier()


def is_stopped(processes: Processes) -> None:
    """Alive for the system, but it does nothing: the other's collective never breaks off."""
    if processes.rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    processes.barrier()


def go_apart(processes: Processes) -> None:
    if processes.main:
        processes.broadcast("this")
    processes.barrier()


def ends(processes: Processes) -> None:
    if processes.main:
        processes.barrier()


def is_slow(processes: Processes) -> None:
    """Longer at work than a silent process may be; the other waits."""
    if processes.main:
        time.sleep(6)
    processes.barrier()
    print(f"process {processes.rank} is done")


TROUBLES: dict[str, Callable[[Processes], None]] = {
    f.__name__: f
    for f in (fails, the_first_fails, is_killed, the_first_is_killed, is_stopped, go_apart, ends, is_slow)
}

if __name__ == "__main__":
    processes = Processes()
    try:
        with processes.watching(silence=3):
            TROUBLES[sys.argv[1]](processes)
    except GnomonError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
