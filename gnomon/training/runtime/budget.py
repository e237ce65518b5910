"""What a loop may spend, in seconds or tokens, and what it has spent.

`tokens_seen` counts the tokens of the sequences that the trained model learns from or writes; a prompt that
several completions share counts once. Offline: prompts and completions of each step's examples, and of the
demonstrations that a side task imitates. Online: prompts and completions of all samples of a round (also of those
that were thrown away), once when they are drawn and once for each pass over them in which they teach. What a
reference, a critic, a reward model or a look at held-out data reads is not counted: that shows in the seconds,
which run from the loop's start, the reference's answers included.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from gnomon.training.runtime.distributed import Processes
from gnomon.training.settings import LoopSettings


class Budget:
    """Spent so far, over all starts of a stage.

    Attributes:
        tokens: `tokens_seen`.
        seconds: as of the last `lap`; the same in all processes.
    """

    def __init__(self, settings: LoopSettings, processes: Processes):
        self.settings = settings
        self.tokens = 0
        self.seconds = 0.0
        self._processes = processes
        self._before = 0.0  # the share that was spent when the first step began
        self._started = time.monotonic()

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state; what this start has done so far counts once, as it did then."""
        self.tokens, self.seconds = int(saved["tokens_seen"]), float(saved["seconds"])
        self._before = float(saved["before"])
        self._started = time.monotonic() - self.seconds

    def state(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"tokens_seen": self.tokens, "seconds": self.seconds, "before": self._before}

    def start(self) -> None:
        """The first step begins."""
        self.update()
        self._before = self.share

    def update(self) -> None:
        """Look at the clock: the main process's, so that all agree."""
        self.seconds = self._processes.broadcast(time.monotonic() - self._started)

    @property
    def bounded(self) -> bool:
        """Whether there is a budget at all."""
        return self.settings.budget_seconds is not None or self.settings.budget_tokens is not None

    @property
    def share(self) -> float:
        """The share of the budget that is spent; of two the one that is spent sooner; 0 without any."""
        by_time = self.seconds / (self.settings.budget_seconds or math.inf)
        return max(by_time, self.tokens / (self.settings.budget_tokens or math.inf))

    @property
    def exhausted(self) -> bool:
        """Whether it is spent."""
        return self.share >= 1

    def progress(self, step: int, bound: int) -> tuple[int, int]:
        """How far the loop is, of what: steps, or percent where there is a budget."""
        if not self.bounded:
            return step, bound
        return min(100, int(100 * max(self.share, step / bound))), 100

    def planned_steps(self, done: int, bound: int) -> int:
        """Steps in all, at the pace of those `done`, so that the learning rate ends where the budget does.

        Args:
            done: steps so far; before the first nothing is known and the bound is the plan.
            bound: steps that the stage would take without a budget.
        """
        pace = (self.share - self._before) / done if done else 0.0
        if not self.bounded or pace <= 0:
            return bound
        left = max(1, math.ceil((1 - self.share) / pace - 1e-9))
        return min(bound, done + left)
