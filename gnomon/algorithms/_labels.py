"""Base class of algorithms over labelled completions: implicit rewards, step statistics, SFT term, metrics.

They compare a reward with a baseline of the whole step. A micro-batch does not see the step, so before the losses
the loop sums `step_statistics` over all micro-batches and processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms._preference import completion_logratios
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Labels, Metrics
from gnomon.core.lazy import torch
from gnomon.core.ranges import Positive, Weight
from gnomon.core.types import Label
from gnomon.losses.preference import pairwise_accuracy

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LabelLoss:
    """Base class of algorithms over labels.

    Attributes:
        beta: KL penalty strength; smaller values let the policy move further from the reference.
        good_weight: weight of good completions.
        bad_weight: weight of bad completions.
        sft_coef: weight of the mean negative log-likelihood per token of good completions.
    """

    consumes: ClassVar[type] = Label
    trains: ClassVar[str] = "policy"
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1
    beta: Positive = 0.1
    good_weight: Weight = 1.0
    bad_weight: Weight = 1.0
    sft_coef: Weight = 0.0

    @property
    def needs(self) -> frozenset[str]:
        """The reference."""
        return frozenset({"reference"})

    def rewards(self, models: Models, batch: Labels) -> tuple[Tensor, Tensor]:
        """`β·log π/π_ref` of each completion, and its mean negative log-likelihood per token, both `[N]`."""
        logratios, nll, _ = completion_logratios(models, batch, reference=True)
        return self.beta * logratios.sum(dim=-1), nll

    def step_statistics(self, models: Models, batch: Labels, mismatched: Labels | None) -> Metrics:
        """Counts of good and bad completions, summed over the step.

        Args:
            models: with the policy.
            batch: a part of the step.
            mismatched: the same prompts with completions of other prompts, or `None`.
        """
        return {"good": batch.good.sum(), "bad": (~batch.good).sum()}

    def baseline(self, sums: Mapping[str, float]) -> float:
        """The baseline of rewards, from the step's statistics."""
        raise NotImplementedError

    def completion_loss(self, rewards: Tensor, good: Tensor, baseline: float) -> Tensor:
        """The loss of each completion, `[N]`.

        Args:
            rewards: implicit rewards, `[N]`.
            good: labels, `[N]`.
            baseline: of the step.
        """
        raise NotImplementedError

    def loss(self, models: Models, batch: Labels) -> tuple[Tensor, Metrics]:
        """Mean over completions, `[]`; in metrics, `chosen` are the good ones, `rejected` the bad ones."""
        sums, rows = batch.totals.sums, batch.totals.rows
        rewards, nll = self.rewards(models, batch)
        good = batch.good.to(rewards.device)
        baseline = self.baseline(sums)
        losses = self.completion_loss(rewards, good, baseline) + self.sft_coef * nll * good
        loss = (batch.weight.to(rewards) * losses).sum() / rows
        detached = rewards.detach()
        metrics = {
            "loss": loss.detach(),
            "accuracy": pairwise_accuracy(torch.where(good, detached - baseline, baseline - detached)).sum()
            / rows,
            "baseline": baseline * torch.ones_like(detached).sum() / rows,
        }
        if sums["good"]:
            metrics["nll"] = nll[good].detach().sum() / sums["good"]
            metrics["chosen_reward"] = detached[good].sum() / sums["good"]
        if sums["bad"]:
            metrics["rejected_reward"] = detached[~good].sum() / sums["bad"]
        if sums["good"] and sums["bad"]:
            metrics["reward_margin"] = metrics["chosen_reward"] - metrics["rejected_reward"]
        return loss, metrics
