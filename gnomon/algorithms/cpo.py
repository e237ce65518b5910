"""CPO: DPO with a uniform reference, held by imitation.

Paper: Xu et al. 2024, "Contrastive preference optimization": `−log σ(β·[log π(y_w) − log π(y_l)])` on summed
log-probs, plus the negative log-likelihood of the preferred side. That is a mean over tokens here (`sft_coef`),
so that its weight does not grow with length.

Wrong when completions differ much in length: without a reference a longer one starts behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.algorithms._preference import PairLoss
from gnomon.core.ranges import Positive, Weight

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CPO(PairLoss):
    """Contrastive preference optimization.

    Attributes:
        beta: reward of a nat.
    """

    beta: Positive = 0.1
    sft_coef: Weight = 1.0

    @property
    def needs(self) -> frozenset[str]:
        """No other model."""
        return frozenset()

    def implicit_reward(self, logprobs: Tensor) -> Tensor:
        """`β·log π`, `[M]`."""
        return self.beta * logprobs
