"""Losses over pairs: scores in, one number a pair out; the caller reduces."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def bradley_terry(chosen: Tensor, rejected: Tensor, probability: Tensor, margin: Tensor | None = None) -> Tensor:
    """Cross-entropy of raters' preferences under Bradley and Terry (1952), `[M]`.

    `−p·log σ(s_c − s_r − m) − (1 − p)·log σ(s_r − s_c + m)`. With p = 1 and no margin it is the usual
    reward-model loss (Ouyang et al. 2022, eq. 1); p = ½ is a tie. Its optimum has `s_c − s_r = m + logit p`: the
    scores are calibrated to the share of raters.

    Args:
        chosen: scores `[M]`.
        rejected: scores `[M]`.
        probability: share of raters who prefer `chosen`, `[M]`.
        margin: by how much `chosen` must lead, `[M]` (Touvron et al. 2023, eq. 2).
    """
    lead = chosen - rejected if margin is None else chosen - rejected - margin
    return -(probability * F.logsigmoid(lead) + (1 - probability) * F.logsigmoid(-lead))
