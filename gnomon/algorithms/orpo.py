"""ORPO: imitation and preference in one stage, no reference.

Paper: Hong et al. 2024, eq. 6 and 7: `−log P(y_w) − λ·log σ(log odds(y_w) − log odds(y_l))`, where log P is the
average log-prob of a token and odds = P/(1 − P). The first term is SFT on the preferred side (`sft_coef`), so
it starts from a base model.

Wrong when the preferred answers are not worth imitating: most of the gradient is imitation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gnomon.algorithms._preference import PairLoss
from gnomon.core.ranges import Positive, Weight
from gnomon.losses.preference import log_odds, logsigmoid_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ORPO(PairLoss):
    """Odds-ratio preference optimization.

    Attributes:
        odds_weight: λ, of the odds ratio beside the imitation.
    """

    average: ClassVar[bool] = True
    odds_weight: Positive = 0.1
    sft_coef: Weight = 1.0

    @property
    def needs(self) -> frozenset[str]:
        """No other model."""
        return frozenset()

    def implicit_reward(self, logprobs: Tensor) -> Tensor:
        """`log P/(1 − P)`, `[M]`."""
        return log_odds(logprobs)

    def pair_loss(self, margin: Tensor) -> Tensor:
        """`−λ·log σ(margin)`, `[M]`."""
        return self.odds_weight * logsigmoid_loss(margin)
