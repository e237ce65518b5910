"""A memory of former rounds' groups, to learn from them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.core.experience import Rollout
from gnomon.core.storage.files import to_json
from gnomon.core.types import Completion, Message, Prompt
from gnomon.training.settings import Replay


@dataclass(frozen=True)
class ReplayGroup:
    """One prompt's completions with their scores, and how much they taught when they were new."""

    rollouts: tuple[Rollout, ...]
    scores: tuple[float, ...]
    priority: float


class ReplayBuffer:
    """The newest groups, drawn by priority (Schaul et al. 2016, with rank left out)."""

    def __init__(self, settings: Replay, seed: int):
        self.settings = settings
        self.seed = seed
        self.groups: list[ReplayGroup] = []

    def draw(self, fresh: int, step: int) -> list[ReplayGroup]:
        """Groups for a round with `fresh` new ones; none twice."""
        count = min(round(self.settings.share * fresh), len(self.groups))
        if not count:
            return []
        weights = np.array([(g.priority + 0.01) ** self.settings.priority for g in self.groups])
        generator = np.random.default_rng([self.seed, 11, step])
        chosen = generator.choice(len(self.groups), size=count, replace=False, p=weights / weights.sum())
        return [self.groups[i] for i in chosen]

    def add(self, groups: Sequence[ReplayGroup]) -> None:
        """Remember, and forget the oldest."""
        self.groups = [*self.groups, *groups][-self.settings.capacity :]

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [to_json(group) for group in self.groups]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on from a checkpoint."""
        self.groups = [
            ReplayGroup(tuple(map(_rollout, row["rollouts"])), tuple(row["scores"]), float(row["priority"]))
            for row in state
        ]


def _rollout(row: Mapping[str, Any]) -> Rollout:
    asked = row["prompt"]
    prompt = Prompt(asked["id"], tuple(Message(**m) for m in asked["messages"]), asked["answer"])
    told = row["completion"]
    completion = Completion(told["id"], told["text"], told["source"], tuple(told["token_ids"]))
    rest = {key: value for key, value in row.items() if key not in ("prompt", "completion")}
    rest = {key: tuple(value) if isinstance(value, list) else value for key, value in rest.items()}
    return Rollout(prompt=prompt, completion=completion, **rest)
