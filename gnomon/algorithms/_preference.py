"""Base class of preference algorithms: log-ratios of both sides, label noise, margin, SFT term, metrics.

An algorithm over pairs defines an `implicit_reward` of a completion and a `pair_loss` of the reward margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from gnomon.algorithms.contract import Models
from gnomon.core.batches import Labels, Metrics, Preferences, Rankings
from gnomon.core.ranges import Range, Share, Weight
from gnomon.core.types import Preference
from gnomon.losses.preference import (
    logsigmoid_loss,
    majority,
    pair_values,
    pairwise_accuracy,
    smooth_labels,
    soft_label_loss,
)
from gnomon.losses.reduce import masked, masked_sum

if TYPE_CHECKING:
    from torch import Tensor

Batch = Preferences | Labels | Rankings
Noise = Annotated[float, Range("with half of all labels flipped there is nothing to learn", ge=0, lt=0.5)]


@dataclass(frozen=True, kw_only=True)
class PairLoss:
    """Base class of algorithms over pairs.

    Attributes:
        soft_labels: train on the share of raters (a tie pulls the margin to 0) instead of the majority's side.
        label_smoothing: assumed share of flipped labels.
        robust: correct for the flips (rDPO) instead of smoothing (cDPO).
        margin_weight: share of the rating gap that the reward margin must exceed (ODPO, Amini et al. 2024).
        ld_alpha: weight of tokens beyond the other completion's length (LD-DPO, Liu et al. 2024); 1 is off.
        sft_coef: weight of the mean negative log-likelihood per preferred token (Pang et al. 2024, eq. 1).
    """

    consumes: ClassVar[type] = Preference
    trains: ClassVar[str] = "policy"
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1
    average: ClassVar[bool] = False  # mean of a completion's log-ratios over its tokens instead of their sum
    soft_labels: bool = True
    label_smoothing: Noise = 0.0
    robust: bool = False
    margin_weight: Weight = 0.0
    ld_alpha: Share = 1.0
    sft_coef: Weight = 0.0

    @property
    def needs(self) -> frozenset[str]:
        """The reference, for log-ratios; a subclass without it gets the policy's log-probs in their place."""
        return frozenset({"reference"})

    def implicit_reward(self, logratios: Tensor) -> Tensor:
        """The implicit reward of a completion from the sum (or mean) of its log-ratios, `[M]`."""
        return logratios

    def pair_loss(self, margin: Tensor) -> Tensor:
        """The loss of a pair, `[M]`; its reward margin is that of the preferred completion over the other."""
        return logsigmoid_loss(margin)

    def loss(self, models: Models, batch: Preferences) -> tuple[Tensor, Metrics]:
        """Mean over pairs, `[]`; accuracy counts tied rewards as half."""
        logratios, nll, mask = completion_logratios(models, batch, reference="reference" in self.needs)
        device, pair_count = logratios.device, batch.totals.rows
        chosen_rows, rejected_rows = batch.chosen.to(device), batch.rejected.to(device)
        target = batch.probability.to(logratios)
        target = target if self.soft_labels else majority(target)

        def rewards(rows: Tensor, other_rows: Tensor) -> Tensor:
            sums = pair_values(logratios, mask, rows, other_rows, ld_alpha=self.ld_alpha, average=self.average)
            return self.implicit_reward(sums)

        chosen, rejected = rewards(chosen_rows, rejected_rows), rewards(rejected_rows, chosen_rows)  # [M]
        margin = chosen - rejected
        smoothed_target = smooth_labels(target, self.label_smoothing, robust=self.robust)
        required_margin = self.margin_weight * batch.margin.to(logratios)
        pair_loss = soft_label_loss(self.pair_loss, margin - required_margin, smoothed_target)
        preferred_nll = target * nll[chosen_rows] + (1 - target) * nll[rejected_rows]
        loss = (batch.weight.to(logratios) * (pair_loss + self.sft_coef * preferred_nll)).sum() / pair_count
        metrics = {
            "loss": loss.detach(),
            "accuracy": pairwise_accuracy(margin).sum() / pair_count,
            "reward_margin": margin.detach().sum() / pair_count,
            "nll": preferred_nll.detach().sum() / pair_count,
        }
        if "reference" in self.needs:
            metrics["chosen_reward"] = chosen.detach().sum() / pair_count
            metrics["rejected_reward"] = rejected.detach().sum() / pair_count
        return loss, metrics


def completion_logratios(models: Models, batch: Batch, *, reference: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Compute log-probs or log-ratios of each completion.

    Args:
        models: the trained models.
        batch: of any kind of comparisons or labels.
        reference: log-ratios to the reference, instead of log-probs.

    Returns:
        Log-probs or log-ratios `[N, T]`, 0 outside the mask; mean negative log-likelihood `[N]`; mask `[N, T]`.
    """
    output = models.policy.logprobs(batch.tokens)
    mask = batch.tokens.mask.to(output.device)
    logprobs = masked(output, mask)
    nll = -masked_sum(logprobs, mask) / mask.sum(dim=-1).clamp(min=1)
    if not reference:
        return logprobs, nll, mask
    assert batch.reference_logprobs is not None
    return logprobs - masked(batch.reference_logprobs.to(output.device), mask), nll, mask
