"""IPO: a reward margin of a given size, not the largest one.

Paper: Azar et al. 2023, eq. 17: `(h − 1/(2τ))²`, h the difference of log-ratios. A soft label p has the optimum
`h = (p − ½)/τ`: bounded even where raters are unanimous. Here h is a difference of averages over tokens, so that
τ means the same for short and long completions.

Wrong when preferences add up: shares of raters are not differences of rewards, so of three pairs that share
completions not all margins can be met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gnomon.algorithms._preference import PairLoss
from gnomon.core.ranges import Positive
from gnomon.losses.preference import ipo_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class IPO(PairLoss):
    """Identity preference optimization.

    Attributes:
        tau: the target margin of a unanimous pair is 1/(2τ) nats per token.
    """

    average: ClassVar[bool] = True
    tau: Positive = 0.1

    def pair_loss(self, margin: Tensor) -> Tensor:
        """`(margin − 1/(2τ))²`, `[M]`."""
        return ipo_loss(margin, self.tau)
