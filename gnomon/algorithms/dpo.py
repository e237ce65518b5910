"""DPO: the policy as its own reward model, learned from stored pairs.

Paper: Rafailov et al. 2023, eq. 7: `−log σ(β·[log π/π_ref(y_w) − log π/π_ref(y_l)])` with log-probs summed over
the completion. Its optimum on exact preferences is π_ref·exp(r/β)/Z, where PPO with their reward would go.
Settings make it cDPO (`label_smoothing`), rDPO (`robust`), ODPO (`margin_weight`), LD-DPO (`ld_alpha`) and RPO
(`sft_coef`); with soft labels it learns the share of raters. Computed by `losses.preference.logsigmoid_loss`.

Wrong when labels are hard and pairs few: the margin then grows without bound, and both log-probs may fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.algorithms._preference import PairLoss
from gnomon.core.ranges import Positive

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DPO(PairLoss):
    """Direct preference optimization.

    Attributes:
        beta: KL penalty strength; smaller values let the policy move further from the reference.
    """

    beta: Positive = 0.1

    def implicit_reward(self, logratios: Tensor) -> Tensor:
        """`β·log π/π_ref`, `[M]`."""
        return self.beta * logratios
