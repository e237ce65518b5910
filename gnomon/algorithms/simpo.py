"""SimPO: the average log-prob is the reward, and its margin must exceed γ; no reference.

Paper: Meng et al. 2024, eq. 6: `−log σ(β·[log π(y_w)/|y_w| − log π(y_l)/|y_l|] − γ)`. It ranks answers by what
decoding follows, and length earns nothing.

Wrong when the policy must stay close to where it began: only a small step size holds it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gnomon.algorithms._preference import PairLoss
from gnomon.core.ranges import Positive, Weight
from gnomon.losses.preference import logsigmoid_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SimPO(PairLoss):
    """Simple preference optimization.

    Attributes:
        beta: reward per nat and token.
        gamma: target reward margin.
    """

    average: ClassVar[bool] = True
    beta: Positive = 2.0
    gamma: Weight = 1.0

    @property
    def needs(self) -> frozenset[str]:
        """No other model."""
        return frozenset()

    def implicit_reward(self, logprobs: Tensor) -> Tensor:
        """`β·log π/|y|`, `[M]`."""
        return self.beta * logprobs

    def pair_loss(self, margin: Tensor) -> Tensor:
        """`−log σ(margin − γ)`, `[M]`."""
        return logsigmoid_loss(margin - self.gamma)
