"""Hinge: a pair has a gradient until its reward margin is large enough.

Paper: Zhao et al. 2023, "SLiC-HF", with the reference inside as in Liu et al. 2023, "Statistical rejection
sampling improves preference optimization": `max(0, 1 − β·[log π/π_ref(y_w) − log π/π_ref(y_l)])`. Without the
reference it is SLiC-HF itself, whose regularizer is `sft_coef`.

Wrong when raters are split: its optimum is a margin of 1 for any majority, so nothing is calibrated, and at a tie
all margins up to 1 have the same loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.algorithms._preference import PairLoss
from gnomon.core.ranges import Positive
from gnomon.losses.preference import hinge_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Hinge(PairLoss):
    """Sequence likelihood calibration.

    Attributes:
        beta: reward per nat; a margin of 1/β nats is enough.
        reference: use log-ratios to the reference; otherwise log-probs.
    """

    beta: Positive = 0.1
    reference: bool = True

    @property
    def needs(self) -> frozenset[str]:
        """The reference, unless it is left out."""
        return frozenset({"reference"} if self.reference else ())

    def implicit_reward(self, logratios: Tensor) -> Tensor:
        """`β·log π/π_ref`, or `β·log π`, `[M]`."""
        return self.beta * logratios

    def pair_loss(self, margin: Tensor) -> Tensor:
        """`max(0, 1 − margin)`, `[M]`."""
        return hinge_loss(margin)
