"""Losses over pairs and rankings: scores in, one number a pair out; the caller reduces.

A soft label p stands for raters of whom the share p prefers the first: the loss is the mean over raters,
`p·ℓ(lead) + (1 − p)·ℓ(−lead)`. Noise in labels changes p, so each such loss is smoothed or made robust alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gnomon.core.lazy import F, torch
from gnomon.losses.reduce import masked_sum

if TYPE_CHECKING:
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
    return soft_label_loss(logsigmoid_loss, lead, probability)


def soft_label_loss(cost: Callable[[Tensor], Tensor], lead: Tensor, probability: Tensor) -> Tensor:
    """`p·ℓ(lead) + (1 − p)·ℓ(−lead)`, the mean of a pair's loss over raters, `[M]`."""
    return probability * cost(lead) + (1 - probability) * cost(-lead)


def majority(probability: Tensor) -> Tensor:
    """1 where most raters prefer the first, 0 where few do, ½ where they are split, `[M]`."""
    return (probability > 0.5).to(probability.dtype) + 0.5 * (probability == 0.5)


def smooth_labels(probability: Tensor, noise: float, *, robust: bool) -> Tensor:
    """The probability to learn where a share `noise` of the labels is flipped, `[M]`.

    Conservative (Mitchell 2023, cDPO): what noisy raters would say, `p(1 − ε) + (1 − p)ε`. Robust (Chowdhury et
    al. 2024, rDPO): p is what noisy raters said; `(p − ε)/(1 − 2ε)` undoes it, so that the mean loss over flips
    is the loss of the clean label. It may leave [0, 1], and the loss of one pair then has no lower bound.
    """
    if robust:
        return (probability - noise) / (1 - 2 * noise)
    return probability * (1 - noise) + (1 - probability) * noise


def logsigmoid_loss(lead: Tensor) -> Tensor:
    """`−log σ(lead)`, same shape (Rafailov et al. 2023, eq. 7)."""
    return -F.logsigmoid(lead)


def hinge_loss(lead: Tensor) -> Tensor:
    """`max(0, 1 − lead)`, same shape (Zhao et al. 2023, SLiC-HF)."""
    return F.relu(1 - lead)


def ipo_loss(lead: Tensor, tau: float) -> Tensor:
    """`(lead − 1/(2τ))²`, same shape (Azar et al. 2023, eq. 17)."""
    return (lead - 1 / (2 * tau)).square()


def log_odds(mean_logprobs: Tensor) -> Tensor:
    """`log P/(1 − P)` of a likelihood P = exp(mean log-prob) per token, same shape (Hong et al. 2024, eq. 4)."""
    sure = mean_logprobs.clamp(max=-1e-6)  # a certain token would have infinite odds
    return sure - torch.log(-torch.expm1(sure))


def plackett_luce(scores: Tensor) -> Tensor:
    """Negative log-likelihood of a ranking under Plackett (1975) and Luce (1959), `[K] -> []`.

    `−Σ_k log (exp s_k / Σ_{j≥k} exp s_j)`, scores best first: each place is a choice among those that are left
    (Rafailov et al. 2023, appendix A.3). With K = 2 it is Bradley–Terry.
    """
    left = torch.logcumsumexp(scores.flip(0), dim=0).flip(0)
    return (left - scores).sum()


def pair_values(
    values: Tensor, mask: Tensor, rows: Tensor, others: Tensor, *, tail_weight: float = 1.0, average: bool = False
) -> Tensor:
    """One number for the completion `rows` of each pair from per-token values: their sum, or their average.

    Tokens beyond the length of the pair's other completion weigh `tail_weight` (Liu et al. 2024, LD-DPO), so
    that a longer answer does not win or lose by its length alone; 1 is the plain sum.

    Args:
        values: `[N, T]`.
        mask: `[N, T]`; only tokens that count have a place in an answer's length.
        rows: `[M]`.
        others: the other completion of each pair, `[M]`.
        tail_weight: α, from 0 to 1.
        average: divide by the sum of the weights.

    Returns:
        `[M]`.
    """
    if tail_weight == 1.0:
        sums, lengths = masked_sum(values, mask), mask.sum(dim=-1).to(values.dtype)
        return (sums / lengths.clamp(min=1) if average else sums)[rows]
    place = mask.cumsum(dim=-1)[rows]  # [M, T], from 1
    beyond = place > mask.sum(dim=-1)[others][:, None]
    weight = torch.where(beyond, tail_weight, 1.0).to(values.dtype)
    sums = masked_sum(values[rows] * weight, mask[rows])
    return sums / masked_sum(weight, mask[rows]).clamp(min=1e-6) if average else sums
