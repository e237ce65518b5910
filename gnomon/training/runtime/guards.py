"""What both loops do between steps: save in time, and stop when asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gnomon.core.errors import Interrupted, NotFiniteError, RunError
from gnomon.core.progress import StopSignal
from gnomon.training.runtime.checkpoints import newest_step
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.kept_models import ModelKeeper

Watch = Callable[[int, Mapping[str, float]], bool]  # told of each step's metrics; true ends the loop


def named(prompts: Sequence[str]) -> str:
    """The first few of a batch's prompts, for a message."""
    first = list(dict.fromkeys(prompts))[:3]
    return f"prompts {', '.join(first)} …" if first else "prompts without names"


class Saver:
    """Saves every so many seconds, before stopping at the user's wish, and where numbers end.

    Args:
        save: writes a checkpoint of that many steps.
        stop: the user's wish.
        every_seconds: between checkpoints.
        processes: that train together.
        root: where checkpoints are.
        keeper: keeps models of some steps; `None` keeps none.
    """

    def __init__(
        self,
        save: Callable[[int], None],
        stop: StopSignal,
        every_seconds: float,
        processes: Processes,
        root: Path,
        keeper: ModelKeeper | None = None,
    ):
        self._keeper = keeper
        self._root = root
        self._processes = processes
        self._save = save
        self._stop = stop
        self._every = every_seconds
        self._last = time.monotonic()

    def after_step(self, step: int, planned: int) -> None:
        """Save if it is time; raise `Interrupted` if the user asked to stop, `RunError` if the folder is gone."""
        self._stop.check()
        if self._keeper and self._processes.main:
            self._keeper.after_step(step)
        due = time.monotonic() - self._last >= self._every
        stopping = any(self._processes.collect(bool(self._stop)))  # one process may have heard of it alone
        if stopping or (due and step < planned):
            self._save(step)
            self._last = time.monotonic()
        if stopping:
            raise Interrupted(
                f"stopped after step {step} of {planned} and saved; run the same command again to go on."
            )

    @contextmanager
    def saying_what_is_kept(self, unchanged: int | None = None) -> Iterator[None]:
        """Say which checkpoint stands where a step's numbers are not finite.

        Args:
            unchanged: the steps after which the weights still are as they were; saved then, unless it is 0.

        Raises:
            RunError: in place of a `NotFiniteError`.
        """
        try:
            yield
        except NotFiniteError as error:
            if unchanged:
                self._save(unchanged)
            step = newest_step(self._root)
            kept = "no checkpoint was due yet" if step is None else f"the checkpoint of step {step} stands"
            raise RunError(
                f"{error}; {kept}; lower training.learning_rate or mend these rows, and run again: "
                "the stage then begins anew."
            ) from None
