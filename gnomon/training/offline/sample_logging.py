"""What a policy that learns from stored data would say by now: a few samples, every so many steps.

A loss says how well others' answers are learned, not what has become of the policy's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.core.storage.metrics_log import StepLog
from gnomon.core.types import Prompt
from gnomon.models.roles import Policy
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling

PROMPTS = 4  # the first that differ
SAMPLING = Sampling(max_tokens=64)


class SampleLogger:
    """A watch of a loop that writes samples to `samples.jsonl` and lets the loop go on.

    The same prompts draw from the same random numbers each time, so that only the policy differs. Training's own
    random numbers are not touched.

    Args:
        policy: that is trained.
        prompts: of the data that it learns from.
        every: steps between two looks.
        folder: of the stage.
    """

    def __init__(self, policy: Policy, prompts: Sequence[Prompt], every: int, folder: Path):
        self.policy = policy
        self.prompts = list({p.messages: p for p in prompts}.values())[:PROMPTS]
        self.every = every
        self.path = folder / "samples.jsonl"
        self.log: StepLog | None = None

    def __call__(self, step: int, _: Mapping[str, float]) -> bool:
        """Look, if it is time to; never a reason to stop."""
        self.log = self.log or StepLog(self.path, keep_steps=step - 1)
        if step % self.every == 0:
            self.log.record(self._rows(step))
        return False

    def _rows(self, step: int) -> list[dict[str, object]]:
        try:
            found = NativeSampler(self.policy).sample(self.prompts, SAMPLING, seed=0, version=step)
        except DataError:  # a prompt that fills the model's context has no room for a sample
            return []
        return [
            {
                "step": step,
                "prompt": rollout.prompt.messages[-1].content,
                "text": rollout.completion.text,
                "finished": rollout.finished,
            }
            for rollout in found
        ]
