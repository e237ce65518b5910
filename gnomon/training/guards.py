"""What both loops do between steps: save in time, and stop when asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from gnomon.core.errors import Interrupted
from gnomon.core.progress import StopSignal
from gnomon.training.processes import Processes

Watch = Callable[[int, Mapping[str, float]], bool]  # told of each step's metrics; true ends the loop


class Saver:
    """Saves every so many seconds, and before stopping at the user's wish."""

    def __init__(self, save: Callable[[int], None], stop: StopSignal, every_seconds: float, processes: Processes):
        self._processes = processes
        self._save = save
        self._stop = stop
        self._every = every_seconds
        self._last = time.monotonic()

    def after_step(self, step: int, planned: int) -> None:
        """Save if it is time; raise `Interrupted` if the user asked to stop."""
        due = time.monotonic() - self._last >= self._every
        stopping = any(self._processes.collect(bool(self._stop)))  # one process may have heard of it alone
        if stopping or (due and step < planned):
            self._save(step)
            self._last = time.monotonic()
        if stopping:
            raise Interrupted(
                f"stopped after step {step} of {planned} and saved; run the same command again to go on."
            )
