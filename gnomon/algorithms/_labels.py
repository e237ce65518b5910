"""What the algorithms over labelled completions share: rewards, the step's counts, SFT term, metrics.

Both compare a reward with a baseline of the whole step. A micro-batch does not know the step, so the loop adds up
over all of it, and over all processes, what `step_statistics` says of each part, before the losses are asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms._preference import completion_logratios, pairwise_accuracy
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Labels, Metrics
from gnomon.core.lazy import torch
from gnomon.core.ranges import Positive, Weight
from gnomon.core.types import Label

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LabelLoss:
    """Fields that every algorithm over labels has.

    Attributes:
        beta: price of a nat of KL; small moves far.
        good_weight: how much a good completion counts.
        bad_weight: how much a bad one does.
        sft_coef: of the mean negative log-likelihood of a good completion's token.
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
        """`β·log π/π_ref` of each completion, and its mean negative log-likelihood of a token, both `[N]`."""
        values, nll, _ = completion_logratios(models, batch, reference=True)
        return self.beta * values.sum(dim=-1), nll

    def step_statistics(self, models: Models, batch: Labels, mismatched: Labels | None) -> Metrics:
        """Counts of good and bad completions; parts of a step add up."""
        return {"good": batch.good.sum(), "bad": (~batch.good).sum()}

    def baseline(self, sums: Mapping[str, float]) -> float:
        """What rewards are compared with, from the step's survey."""
        raise NotImplementedError

    def completion_loss(self, rewards: Tensor, good: Tensor, baseline: float) -> Tensor:
        """The loss of each completion, `[N]`."""
        raise NotImplementedError

    def loss(self, models: Models, batch: Labels) -> tuple[Tensor, Metrics]:
        """Mean over completions; `chosen` are the good ones, `rejected` the bad ones."""
        sums, rows = batch.totals.sums, batch.totals.rows
        rewards, nll = self.rewards(models, batch)
        good = batch.good.to(rewards.device)
        baseline = self.baseline(sums)
        costs = self.completion_loss(rewards, good, baseline) + self.sft_coef * nll * good
        loss = (batch.weight.to(rewards) * costs).sum() / rows
        found = rewards.detach()
        metrics = {
            "loss": loss.detach(),
            "accuracy": pairwise_accuracy(torch.where(good, found - baseline, baseline - found)).sum() / rows,
            "baseline": baseline * torch.ones_like(found).sum() / rows,
        }
        if sums["good"]:
            metrics["nll"] = nll[good].detach().sum() / sums["good"]
            metrics["chosen_reward"] = found[good].sum() / sums["good"]
        if sums["bad"]:
            metrics["rejected_reward"] = found[~good].sum() / sums["bad"]
        if sums["good"] and sums["bad"]:
            metrics["reward_margin"] = metrics["chosen_reward"] - metrics["rejected_reward"]
        return loss, metrics
