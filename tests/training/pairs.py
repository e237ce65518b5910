"""Two processes of one test that meet at collectives, forked from it, so that nothing is imported again."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState

from gnomon.core.errors import GnomonError
from gnomon.training.runtime.distributed import Processes

LIMIT = 60  # seconds, after which a process ends by a signal


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code (less than 0: the signal), what it gave, what it printed as an error."""

    code: int
    result: Any
    error: str


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def in_two(work: Callable[[Processes], Any], folder: Path, silence: float | None = None) -> list[End]:
    """`work` in both of two processes, each of which hands back what can be written as JSON.

    Args:
        work: what each does.
        folder: for what they say.
        silence: they watch each other with this patience, in seconds; `None`: they do not.
    """
    port = free_port()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a test's process may have threads; none is in torch
        children = [_fork(work, rank, port, folder, silence) for rank in range(2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    ends = []
    for rank, code in enumerate(codes):
        result, error = folder / f"{rank}.json", folder / f"{rank}.err"
        ends.append(
            End(
                code,
                json.loads(result.read_text()) if result.exists() else None,
                error.read_text(errors="replace"),
            )
        )
    return ends


def _fork(work: Callable[[Processes], Any], rank: int, port: int, folder: Path, silence: float | None) -> int:
    if child := os.fork():
        return child
    code = 1
    try:
        signal.alarm(LIMIT)
        with (folder / f"{rank}.err").open("wb", buffering=0) as error:
            os.dup2(error.fileno(), 2)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        os.environ.update(
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            WORLD_SIZE="2",
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            ACCELERATE_USE_CPU="true",
            GLOO_SOCKET_IFNAME="lo",
        )
        warnings.simplefilter("ignore")
        PartialState._reset_state()
        processes = Processes()
        if silence is None:
            result = work(processes)
        else:
            with processes.watching(silence):
                result = work(processes)
        (folder / f"{rank}.json").write_text(json.dumps(result))
        code = 0
    except GnomonError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - nothing may go back to the test's own process
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)
