"""Replay buffer of groups from earlier rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.core.experience import Rollout
from gnomon.core.storage.files import to_json
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.messages import stored_message
from gnomon.training.settings import Replay


@dataclass(frozen=True)
class ReplayGroup:
    """One prompt's completions with their scores and replay priority, the mean |advantage| when they were new."""

    rollouts: tuple[Rollout, ...]
    scores: tuple[float, ...]
    priority: float


class ReplayBuffer:
    """The newest groups, sampled by priority (Schaul et al. 2016, proportional variant)."""

    def __init__(self, settings: Replay, seed: int):
        self.settings = settings
        self.seed = seed
        self.groups: list[ReplayGroup] = []

    def draw(self, fresh: int, step: int) -> list[ReplayGroup]:
        """Replayed groups for a round with `fresh` new ones; none twice."""
        count = min(round(self.settings.share * fresh), len(self.groups))
        if not count:
            return []
        weights = np.array([(g.priority + 0.01) ** self.settings.priority for g in self.groups])
        generator = np.random.default_rng([self.seed, 11, step])
        chosen = generator.choice(len(self.groups), size=count, replace=False, p=weights / weights.sum())
        return [self.groups[i] for i in chosen]

    def add(self, groups: Sequence[ReplayGroup]) -> None:
        """Add groups and drop the oldest beyond the capacity."""
        self.groups = [*self.groups, *groups][-self.settings.capacity :]

    def state(self) -> list[dict[str, Any]]:
        """State for a checkpoint."""
        return [_group_state(group) for group in self.groups]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Continue from a checkpoint's state."""
        self.groups = [
            ReplayGroup(tuple(map(_rollout, row["rollouts"])), tuple(row["scores"]), float(row["priority"]))
            for row in state
        ]


def _group_state(group: ReplayGroup) -> dict[str, Any]:
    state: dict[str, Any] = to_json(group)
    for row in state["rollouts"]:
        row["version"] = row.pop("policy_version")
    return state


def _rollout(row: Mapping[str, Any]) -> Rollout:
    saved = row["prompt"]
    prompt = Prompt(
        saved["id"],
        tuple(map(stored_message, saved["messages"])),
        saved["answer"],
        tools=tuple(saved.get("tools", ())),
        chat_template_kwargs=saved.get("chat_template_kwargs", ""),
    )
    saved = row["completion"]
    completion = Completion(saved["id"], saved["text"], saved["source"], tuple(saved["token_ids"]))
    rest = {key: value for key, value in row.items() if key not in ("prompt", "completion", "version")}
    rest = {key: tuple(value) if isinstance(value, list) else value for key, value in rest.items()}
    return Rollout(prompt=prompt, completion=completion, policy_version=row["version"], **rest)
