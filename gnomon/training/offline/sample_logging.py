"""Logs a few samples of the policy during offline training.

The loss measures stored completions, not the policy's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.core.storage.metrics_log import StepLog
from gnomon.core.types import Prompt
from gnomon.models.roles import Policy
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling

PROMPTS = 4  # the first distinct ones
SAMPLING = Sampling(max_tokens=64)


class SampleLogger:
    """A `StepCallback` that writes samples to `samples.jsonl` and never ends the loop.

    Prompts and random numbers are the same each time, so that only the policy differs. Training's random numbers
    are not used.

    Args:
        policy: that is trained.
        prompts: of the training data.
        every: steps between samples.
        folder: of the stage.
    """

    def __init__(self, policy: Policy, prompts: Iterable[Prompt], every: int, folder: Path):
        self.policy = policy
        self.prompts = _first_distinct(prompts)
        self.every = every
        self.path = folder / "samples.jsonl"
        self.log: StepLog | None = None

    def __call__(self, step: int, _: Mapping[str, float]) -> bool:
        """Sample if it is due; always returns `False`."""
        self.log = self.log or StepLog(self.path, keep_steps=step - 1)
        if step % self.every == 0:
            self.log.record(self._rows(step))
        return False

    def _rows(self, step: int) -> list[dict[str, object]]:
        try:
            rollouts = NativeSampler(self.policy).sample(self.prompts, SAMPLING, seed=0, policy_version=step)
        except DataError:  # a prompt fills the model's context
            return []
        return [
            {
                "step": step,
                "prompt": rollout.prompt.messages[-1].content,
                "text": rollout.completion.text,
                "finished": rollout.finished,
            }
            for rollout in rollouts
        ]


def _first_distinct(prompts: Iterable[Prompt]) -> list[Prompt]:
    """Return the first distinct prompts; no more than needed are read."""
    distinct: dict[object, Prompt] = {}
    for prompt in prompts:
        distinct.setdefault(prompt.context, prompt)
        if len(distinct) == PROMPTS:
            break
    return list(distinct.values())
