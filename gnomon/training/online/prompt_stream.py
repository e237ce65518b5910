"""Prompts of each round: pools by weight, each in a new order every epoch, or a curriculum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import Any

import numpy as np

from gnomon.core.types import Prompt
from gnomon.data.batching import epoch_order
from gnomon.training.settings import Curriculum


class PromptStream:
    """An endless, resumable stream of prompts.

    Without a curriculum each epoch over a pool is a permutation that depends on the seed and the epoch. All draws
    depend only on the seed and the position in the stream.

    Args:
        pools: prompts with weights.
        seed: of the stage.
        curriculum: prefer prompts of medium difficulty; `None` walks through the pools.
    """

    def __init__(
        self,
        pools: Sequence[tuple[Sequence[Prompt], float]],
        seed: int,
        curriculum: Curriculum | None = None,
    ):
        self.pools = [list(prompts) for prompts, _ in pools]
        weights = np.array([weight for _, weight in pools], dtype=np.float64)
        self.weights = weights / weights.sum()
        self.seed = seed
        self.curriculum = curriculum
        self.taken = [0] * len(self.pools)
        self.rates: dict[str, float] = {}
        self.walks: dict[int, tuple[int, list[int]]] = {}

    def take(self, count: int) -> list[Prompt]:
        """The next `count` prompts; at the end of an epoch a prompt may occur twice and gets a larger group."""
        chosen: list[Prompt] = []
        for _ in range(count):
            chosen.append(self._next({p.id for p in chosen}))
        return chosen

    def groups(self, count: int) -> int:
        """Maximum number of groups of `count` prompts: a prompt that occurs twice has one."""
        return min(count, self._distinct)

    @cached_property
    def _distinct(self) -> int:
        return len({p.id for prompts in self.pools for p in prompts})

    def update_success_rates(self, scores: Mapping[str, Sequence[float]]) -> None:
        """Update success rates from the scores of each prompt's completions."""
        if self.curriculum is None:
            return
        for name, values in scores.items():
            rate = sum(v > self.curriculum.success for v in values) / len(values)
            before = self.rates.get(name, rate)
            self.rates[name] = self.curriculum.memory * before + (1 - self.curriculum.memory) * rate

    def _next(self, chosen: Set[str]) -> Prompt:
        position = sum(self.taken)
        draw = np.random.default_rng([self.seed, 7, position])
        pool = int(draw.choice(len(self.pools), p=self.weights)) if len(self.pools) > 1 else 0
        prompts, at = self.pools[pool], self.taken[pool]
        self.taken[pool] += 1
        if self.curriculum is None:
            turn, within = divmod(at, len(prompts))
            return prompts[self._order(pool, turn)[within]]
        weights = np.array([self._weight(p, chosen) for p in prompts])
        if not weights.any():
            return prompts[at % len(prompts)]
        return prompts[int(draw.choice(len(prompts), p=weights / weights.sum()))]

    def _order(self, pool: int, turn: int) -> list[int]:
        """The permutation of a pool in an epoch, cached."""
        if self.walks.get(pool, (-1, []))[0] != turn:
            self.walks[pool] = (turn, epoch_order(len(self.pools[pool]), self.seed + pool, turn))
        return self.walks[pool][1]

    def _weight(self, prompt: Prompt, chosen: Set[str]) -> float:
        assert self.curriculum is not None
        if prompt.id in chosen:
            return 0.0
        rate = self.rates.get(prompt.id)
        if rate is None:
            return 1.0
        distance = (rate - self.curriculum.target) / self.curriculum.width
        return float(np.exp(-0.5 * distance * distance))

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"taken": self.taken, "rates": self.rates}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint's state."""
        self.taken, self.rates = list(state["taken"]), dict(state["rates"])
