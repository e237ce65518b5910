"""χPO: DPO with a penalty that grows with the ratio itself, so that no completion can run away.

Paper: Huang et al. 2024, "Correcting the mythos of KL-regularization" (χ²-preference optimization), algorithm 1:
DPO with `β·φ(π/π_ref)`, `φ(z) = z + log z`, in the place of `β·log π/π_ref`. On exact preferences
`β·φ(π/π_ref) = r + constant`: its optimum maximizes E[r] − β·KL − β/2·E_ref[(π/π_ref)²], where a large ratio
grows with the reward and not with its exponential.

Wrong when the reference is far from good: what it hardly ever writes cannot become common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.algorithms._preference import PairLoss
from gnomon.core.ranges import Positive

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 20.0  # log-ratio whose exponential is still taken


@dataclass(frozen=True, kw_only=True)
class ChiPO(PairLoss):
    """χ²-preference optimization.

    Attributes:
        beta: penalty strength; smaller values let the policy move further from the reference.
    """

    beta: Positive = 0.1

    def implicit_reward(self, logratios: Tensor) -> Tensor:
        """`β·(π/π_ref + log π/π_ref)`, `[M]`."""
        return self.beta * (logratios.clamp(max=LARGEST).exp() + logratios)
