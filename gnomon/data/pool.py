"""An ordered map over worker processes, with a bounded number of tasks in flight."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, TypeVar

from gnomon.core.errors import RunError
from gnomon.data.reading.readers import locate

Task = TypeVar("Task")
Value = TypeVar("Value")
WORTH_PROCESSES = 4_000_000  # bytes of a file from which on worker processes are started by default
AHEAD = 3  # tasks in flight for each process
WATCH_SECONDS = 1.0  # between two looks of a worker process at its parent
_work: Callable[[Any], Any] | None = None


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(work: Callable[[Task], Value], tasks: Iterable[Task], jobs: int) -> Generator[Value, None, None]:
    """Yield `work(task)` of each task, in their order; a single task is done by this process.

    Args:
        work: can be pickled; it is sent to each process once.
        tasks: can be pickled.
        jobs: number of processes; with 1 none is started.

    Raises:
        RunError: a worker process was ended from outside, for example for lack of memory.
    """
    iterator = iter(tasks)
    first = list(itertools.islice(iterator, 2))
    if jobs <= 1 or len(first) < 2:
        yield from map(work, itertools.chain(first, iterator))
        return
    # loky starts workers without running the user's script again, as the standard library's pools would.
    from loky import ProcessPoolExecutor
    from loky.process_executor import TerminatedWorkerError

    waiting: deque[Any] = deque()
    start = (work, os.getpid())
    with ProcessPoolExecutor(max_workers=jobs, initializer=_begin, initargs=start) as executor:
        try:
            for task in itertools.chain(first, iterator):
                waiting.append(executor.submit(_run, task))
                if len(waiting) >= AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except TerminatedWorkerError:
            raise RunError(
                "a worker process was ended from outside, probably for lack of memory; run with --jobs 1."
            ) from None
        except BaseException:
            executor.shutdown(wait=True, kill_workers=True)
            raise


def _begin(work: Callable[[Any], Any], parent: int) -> None:
    """Prepare a worker process: its work, and how it ends."""
    global _work
    _work = work
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes; the parent ends its workers
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: one that was killed cannot end its workers."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _run(task: Any) -> Any:
    assert _work is not None, "set when the process starts"
    return _work(task)


def is_large(path: Path) -> bool:
    """Return whether worker processes are worth their start; for data that is no plain file they are."""
    source, _ = locate(path)
    return not source.is_file() or source.stat().st_size >= WORTH_PROCESSES
