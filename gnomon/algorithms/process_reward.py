"""Process reward model: the probability that a solution is right so far, after each of its steps.

Paper: Lightman et al. 2023, "Let's verify step by step": cross-entropy of the labels of steps,
`−log σ(s)` for a right and `−log σ(−s)` for a wrong one, s the score of the answer up to that step. Labels of
whole answers train an outcome reward model in the same way (Cobbe et al. 2021).

Wrong when a step's label depends on what follows it, or when steps are labeled only until the first wrong one and
the answers that go on are scored: later steps of those were never seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms.contract import Models
from gnomon.core.batches import Labels, Metrics
from gnomon.core.lazy import torch
from gnomon.core.ranges import Weight
from gnomon.core.types import Label
from gnomon.losses.preference import logsigmoid_loss
from gnomon.models.settings import StepCombination, StepSettings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ProcessReward:
    """Classification of answers up to each step.

    Attributes:
        combine: how the score of an answer follows from the probabilities of its steps: `min`, `product`, or
            `last`, the probability of the whole answer, which is right for labels of whole answers too.
        separator: the text between two steps of an answer that is scored.
        good_weight: weight of right steps.
        bad_weight: weight of wrong steps, which are fewer in most data.
    """

    consumes: ClassVar[type] = Label
    trains: ClassVar[str] = "reward"
    needs: ClassVar[frozenset[str]] = frozenset()
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1
    combine: StepCombination = "last"
    separator: str = "\n"
    good_weight: Weight = 1.0
    bad_weight: Weight = 1.0

    def __post_init__(self) -> None:
        if not self.separator:
            raise ValueError("separator is empty; give the text between two steps, such as a line break")

    @property
    def steps(self) -> StepSettings:
        """How the trained model scores answers."""
        return StepSettings(combine=self.combine, separator=self.separator)

    def loss(self, models: Models, batch: Labels) -> tuple[Tensor, Metrics]:
        """Mean cross-entropy of a label, in nats, `[]`; a score of 0 counts as half right."""
        scores = models.reward.scores(batch.tokens)  # [N]
        device = scores.device
        good, rows = batch.good.to(device), batch.totals.rows
        signed = torch.where(good, scores, -scores)
        weight = batch.weight.to(device) * torch.where(good, self.good_weight, self.bad_weight).to(scores.dtype)
        loss = (weight * logsigmoid_loss(signed)).sum() / rows
        margin = signed.detach()
        right = (margin > 0).float() + 0.5 * (margin == 0).float()
        return loss, {
            "loss": loss.detach(),
            "accuracy": right.sum() / rows,
            "good_share": good.float().sum() / rows,
            "good_probability": scores.detach().sigmoid().sum() / rows,
        }
