"""KTO: completions called good or bad, one by one, weighed as people weigh gains and losses.

Paper: Ethayarajh et al. 2024, eq. 8: `λ_D·(1 − σ(βh − z))` for good, `λ_U·(1 − σ(z − βh))` for bad completions, h
the summed log-ratio. The baseline `z = β·max(0, mean h of mismatched pairs)` estimates the KL: each prompt of the
step with a completion of another prompt, over the whole step and all processes, without gradient.

Wrong when labels come in pairs: DPO uses that the two sides answer one prompt. A completion that most raters call
good is pushed up without end: KTO finds the better answers, not how much better they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.algorithms._labels import LabelLoss
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Labels, Metrics
from gnomon.core.lazy import torch
from gnomon.losses.unpaired import kto_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KTO(LabelLoss):
    """Kahneman–Tversky optimization. Weights times counts of good and of bad should be of one size."""

    @property
    def needs(self) -> frozenset[str]:
        """The reference, and mismatched pairs for `step_statistics`."""
        return frozenset({"reference", "mismatched"})

    def step_statistics(self, models: Models, batch: Labels, mismatched: Labels | None) -> Metrics:
        """Counts, and the sum of the mismatched completions' rewards.

        Args:
            models: with the policy.
            batch: a part of the step.
            mismatched: the same prompts with completions of other prompts, or `None`.
        """
        counts = super().step_statistics(models, batch, mismatched)
        if mismatched is None:
            return counts
        with torch.no_grad():
            rewards, _ = self.rewards(models, mismatched)
        return {**counts, "mismatched": torch.tensor(len(rewards)), "mismatched_rewards": rewards.sum()}

    def baseline(self, sums: Mapping[str, float]) -> float:
        """The mean reward of mismatched completions, never below 0."""
        return max(0.0, sums["mismatched_rewards"] / sums["mismatched"]) if "mismatched" in sums else 0.0

    def completion_loss(self, rewards: Tensor, good: Tensor, baseline: float) -> Tensor:
        """`λ·(1 − σ(±(reward − z)))`, `[N]`.

        Args:
            rewards: implicit rewards, `[N]`.
            good: labels, `[N]`.
            baseline: of the step.
        """
        return kto_loss(rewards, good, baseline, good_weight=self.good_weight, bad_weight=self.bad_weight)
