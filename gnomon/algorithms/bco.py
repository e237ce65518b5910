"""BCO: a classifier of good and bad completions whose logit is the policy's log-ratio.

Paper: Jung et al. 2024, "Binary classifier optimization": `−log σ(βh − δ)` for good, `−log σ(δ − βh)` for bad
completions, h the summed log-ratio; the shift `δ = ½·(mean βh of good + mean βh of bad)` makes the bound on DPO
tight. δ is that of the whole step, without gradient, so that nothing is carried from step to step.

Wrong when good and bad completions answer different prompts: the classifier then learns the prompts. The paper
weighs rows for that; here their `weight` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.algorithms._labels import LabelLoss
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Labels, Metrics
from gnomon.core.lazy import torch
from gnomon.losses.unpaired import bco_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BCO(LabelLoss):
    """Binary classifier optimization."""

    def step_statistics(self, models: Models, batch: Labels, mismatched: Labels | None) -> Metrics:
        """Counts, and the sums of the rewards of good and of bad completions.

        Args:
            models: with the policy.
            batch: a part of the step.
            mismatched: the same prompts with completions of other prompts, or `None`.
        """
        with torch.no_grad():
            rewards, _ = self.rewards(models, batch)
        good = batch.good.to(rewards.device)
        sums = {"good_rewards": rewards[good].sum(), "bad_rewards": rewards[~good].sum()}
        return {**super().step_statistics(models, batch, mismatched), **sums}

    def baseline(self, sums: Mapping[str, float]) -> float:
        """Midway between the mean rewards of good and bad completions; the one mean where a step has one kind."""
        means = [sums[f"{kind}_rewards"] / sums[kind] for kind in ("good", "bad") if sums[kind]]
        return sum(means) / len(means)

    def completion_loss(self, rewards: Tensor, good: Tensor, baseline: float) -> Tensor:
        """`−log σ(±(reward − δ))`, weighted by label, `[N]`.

        Args:
            rewards: implicit rewards, `[N]`.
            good: labels, `[N]`.
            baseline: of the step.
        """
        weight = torch.where(good, self.good_weight, self.bad_weight).to(rewards.dtype)
        return weight * bco_loss(rewards, good, baseline)
