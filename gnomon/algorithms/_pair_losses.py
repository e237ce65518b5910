"""Losses of pairs of scores, shared by algorithms that learn scores: the choice among them, with its settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from gnomon.core.batches import Preferences
from gnomon.core.lazy import torch
from gnomon.core.ranges import Range
from gnomon.losses.preference import bradley_terry, hinge_loss, majority, smooth_labels, soft_label_loss
from gnomon.losses.ties import davidson, majority_outcome, rao_kupper
from gnomon.models.score_parts.settings import TieModel

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.roles import RewardModel

PairLossName = Literal["bradley_terry", "davidson", "rao_kupper", "hinge"]
TieParameter = Annotated[float, Range("at 0 no tie could occur", gt=0, le=1e6)]
Noise = Annotated[float, Range("from one half on labels would say nothing, or the opposite", ge=0, lt=0.5)]


@dataclass(frozen=True, kw_only=True)
class ScorePairLoss:
    """Settings of the losses of pairs.

    Attributes:
        pair_loss: `bradley_terry`, in which a tie is half a vote for each; `davidson` (1970) and `rao_kupper`
            (1967), in which a tie is an outcome of its own, with a parameter; `hinge`, `max(0, 1 − Δ)`.
        tie_parameter: ν of Davidson, above 0, or θ of Rao and Kupper, above 1; `None` learns it with the model.
        label_smoothing: share of raters who err (Mitchell 2023): p becomes `p(1 − ε) + (1 − p)ε`.
        soft_labels: learn the share of raters; otherwise the majority's side, as if unanimous (a tie stays one).
        use_margin: the score difference must also exceed the pair's rating gap (Touvron et al. 2023, eq. 2);
            scores then are no longer calibrated.
    """

    pair_loss: PairLossName = "bradley_terry"
    tie_parameter: TieParameter | None = None
    label_smoothing: Noise = 0.0
    soft_labels: bool = True
    use_margin: bool = False

    def __post_init__(self) -> None:
        if self.tie_parameter is None:
            return
        if self.tie_model is None:
            raise ValueError(
                f"tie_parameter has no use with pair_loss {self.pair_loss}; take davidson or rao_kupper"
            )
        if self.pair_loss == "rao_kupper" and self.tie_parameter <= 1:
            raise ValueError(
                f"tie_parameter is {self.tie_parameter:g}, but θ of rao_kupper is above 1, since 1 allows no tie"
            )

    @property
    def tie_model(self) -> TieModel | None:
        """The model of ties; `None` if a tie is half a vote for each."""
        return self.pair_loss if self.pair_loss in ("davidson", "rao_kupper") else None

    def pair_losses(self, model: RewardModel, scores: tuple[Tensor, Tensor], batch: Preferences) -> Tensor:
        """Loss of each pair, in nats, `[M]`.

        Args:
            model: the reward model, which may have the tie parameter.
            scores: of the chosen and of the rejected completions, `[M]` each.
            batch: the pairs.
        """
        chosen, rejected = scores
        probability = batch.probability.to(chosen.device)
        tie = torch.zeros_like(probability) if batch.tie is None else batch.tie.to(chosen.device)
        if not self.soft_labels and self.tie_model:
            probability, tie = majority_outcome(probability, tie)
        elif not self.soft_labels:
            probability = majority(probability)
        if self.label_smoothing:
            probability = smooth_labels(probability, self.label_smoothing, robust=False)
        margin = batch.margin.to(chosen.device) if self.use_margin else None
        lead = chosen - rejected if margin is None else chosen - rejected - margin
        match self.pair_loss:
            case "davidson":
                return davidson(lead, probability, tie, self.log_tie(model))
            case "rao_kupper":
                return rao_kupper(lead, probability, tie, self.log_tie(model))
            case "hinge":
                return soft_label_loss(hinge_loss, lead, probability)
        return bradley_terry(chosen, rejected, probability, margin)

    def log_tie(self, model: RewardModel) -> Tensor:
        """Logarithm of the tie parameter, `[]`."""
        if self.tie_parameter is not None:
            return torch.tensor(math.log(self.tie_parameter), device=model.device)
        assert model.parts is not None
        return model.parts.tie_logit()
