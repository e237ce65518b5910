"""Time and token budget of a loop.

`tokens_seen` counts the tokens of the sequences that the trained model learns from or samples; a prompt that
several completions share counts once. Offline: prompts and completions of each step's examples, and of the
demonstrations of `sft_mix`. Online: prompts and completions of all samples of a round (discarded ones too), once
when they are sampled and once for each pass in which they have an advantage. Tokens that only a reference, a
critic, a reward model or validation reads are not counted, but their time is: seconds run from the loop's start,
with the reference pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from gnomon.training.runtime.distributed import Processes
from gnomon.training.settings import LoopSettings


class Budget:
    """Tokens and seconds spent, over all starts of a stage.

    Attributes:
        tokens: `tokens_seen`.
        seconds: as of the last `update`; the same in all processes.
    """

    def __init__(self, settings: LoopSettings, processes: Processes):
        self.settings = settings
        self.tokens = 0
        self.seconds = 0.0
        self._processes = processes
        self._before = 0.0  # share of the budget spent when the first step began
        self._started = time.monotonic()

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from a checkpoint's state; the preparation of this start is not counted again."""
        self.tokens, self.seconds = int(saved["tokens_seen"]), float(saved["seconds"])
        self._before = float(saved["before"])
        self._started = time.monotonic() - self.seconds

    def state(self) -> dict[str, float]:
        """State for a checkpoint."""
        return {"tokens_seen": self.tokens, "seconds": self.seconds, "before": self._before}

    def start(self) -> None:
        """Note that the first step begins."""
        self.update()
        self._before = self.share

    def update(self) -> None:
        """Read the clock of the main process, so that all processes agree."""
        self.seconds = self._processes.broadcast(time.monotonic() - self._started)

    @property
    def bounded(self) -> bool:
        """True if there is a budget."""
        return self.settings.budget_seconds is not None or self.settings.budget_tokens is not None

    @property
    def share(self) -> float:
        """Share of the budget that is spent, the larger of time and tokens; 0 without a budget."""
        by_time = self.seconds / (self.settings.budget_seconds or math.inf)
        return max(by_time, self.tokens / (self.settings.budget_tokens or math.inf))

    @property
    def exhausted(self) -> bool:
        """True if the budget is spent."""
        return self.share >= 1

    def progress(self, step: int, bound: int) -> tuple[int, int]:
        """Progress and its total: steps, or percent with a budget."""
        if not self.bounded:
            return step, bound
        return min(100, int(100 * max(self.share, step / bound))), 100

    def planned_steps(self, done: int, bound: int) -> int:
        """Total steps at the current pace, so that the learning rate schedule ends with the budget.

        Args:
            done: steps so far; before the first, `bound` is returned.
            bound: steps of the stage without a budget.
        """
        pace = (self.share - self._before) / done if done else 0.0
        if not self.bounded or pace <= 0:
            return bound
        left = max(1, math.ceil((1 - self.share) / pace - 1e-9))
        return min(bound, done + left)
