"""Losses of pairs and rankings: scores in, one number per pair out; the caller reduces.

The margin of a pair is the first score minus the second. A soft label p is the share of raters who prefer the
first completion: the loss is the mean over raters, `p·ℓ(margin) + (1 − p)·ℓ(−margin)`. Noise in labels changes p,
so each such loss is smoothed or made robust in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gnomon.core.lazy import F, torch
from gnomon.losses.reduce import masked_sum

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-5  # before the first step the policy equals its reference, and margins are 0 up to this


def bradley_terry(chosen: Tensor, rejected: Tensor, probability: Tensor, margin: Tensor | None = None) -> Tensor:
    """Cross-entropy of raters' preferences under Bradley and Terry (1952), `[M]`.

    `−p·log σ(s_c − s_r − m) − (1 − p)·log σ(s_r − s_c + m)`. With p = 1 and no margin it is the usual
    reward-model loss (Ouyang et al. 2022, eq. 1); p = ½ is a tie. Its optimum has `s_c − s_r = m + logit p`: the
    scores are calibrated to the share of raters.

    Args:
        chosen: scores `[M]`.
        rejected: scores `[M]`.
        probability: share of raters who prefer `chosen`, `[M]`.
        margin: m, the margin that `chosen` must have, `[M]` (Touvron et al. 2023, eq. 2).
    """
    logits = chosen - rejected if margin is None else chosen - rejected - margin
    return soft_label_loss(logsigmoid_loss, logits, probability)


def soft_label_loss(pair_loss: Callable[[Tensor], Tensor], margin: Tensor, probability: Tensor) -> Tensor:
    """`p·ℓ(margin) + (1 − p)·ℓ(−margin)`, the mean of a pair's loss over raters, `[M]`.

    Args:
        pair_loss: ℓ, of a margin where the first is preferred.
        margin: `[M]`.
        probability: p, share of raters who prefer the first, `[M]`.
    """
    return probability * pair_loss(margin) + (1 - probability) * pair_loss(-margin)


def majority(probability: Tensor) -> Tensor:
    """1 where most raters prefer the first, 0 where few do, ½ where they are split, `[M]`."""
    return (probability > 0.5).to(probability.dtype) + 0.5 * (probability == 0.5)


def smooth_labels(probability: Tensor, noise: float, *, robust: bool) -> Tensor:
    """The probability to learn where a share `noise` of the labels is flipped, `[M]`.

    Conservative (Mitchell 2023, cDPO): the probability under noisy raters, `p(1 − ε) + (1 − p)ε`. Robust
    (Chowdhury et al. 2024, rDPO): p comes from noisy raters; `(p − ε)/(1 − 2ε)` undoes the noise, so that the
    mean loss over flips is the loss of the clean label. It may leave [0, 1], and the loss of one pair then has no
    lower bound.

    Args:
        probability: p, `[M]`.
        noise: ε.
        robust: robust instead of conservative.
    """
    if robust:
        return (probability - noise) / (1 - 2 * noise)
    return probability * (1 - noise) + (1 - probability) * noise


def logsigmoid_loss(margin: Tensor) -> Tensor:
    """`−log σ(margin)`, `[…] -> […]` (Rafailov et al. 2023, eq. 7)."""
    return -F.logsigmoid(margin)


def hinge_loss(margin: Tensor) -> Tensor:
    """`max(0, 1 − margin)`, `[…] -> […]` (Zhao et al. 2023, SLiC-HF)."""
    return F.relu(1 - margin)


def ipo_loss(margin: Tensor, tau: float) -> Tensor:
    """`(margin − 1/(2τ))²`, `[…] -> […]` (Azar et al. 2023, eq. 17)."""
    return (margin - 1 / (2 * tau)).square()


def pairwise_accuracy(margin: Tensor) -> Tensor:
    """1 where the margin is positive, ½ where it is 0 up to rounding, else 0, `[…] -> […]`."""
    return (margin > ROUNDING).float() + 0.5 * (margin.abs() <= ROUNDING).float()


def log_odds(mean_logprobs: Tensor) -> Tensor:
    """`log P/(1 − P)`, P = exp(mean log-prob per token), `[…] -> […]` (Hong et al. 2024, eq. 4)."""
    sure = mean_logprobs.clamp(max=-1e-6)  # a certain token would have infinite odds
    return sure - torch.log(-torch.expm1(sure))


def plackett_luce(scores: Tensor) -> Tensor:
    """Negative log-likelihood of a ranking under Plackett (1975) and Luce (1959), `[K] -> []`.

    `−Σ_k log (exp s_k / Σ_{j≥k} exp s_j)`, scores best first: each rank is a choice among the remaining
    completions (Rafailov et al. 2023, appendix A.3). With K = 2 it is Bradley–Terry.
    """
    remaining = torch.logcumsumexp(scores.flip(0), dim=0).flip(0)
    return (remaining - scores).sum()


def concordance(scores: Tensor) -> Tensor:
    """Share of pairs in which the former of `scores` `[K]` is the larger, `[]`; equal ones count half."""
    above, below = torch.triu_indices(len(scores), len(scores), offset=1, device=scores.device)
    return pairwise_accuracy(scores[above] - scores[below]).mean()


def pair_values(
    values: Tensor, mask: Tensor, rows: Tensor, others: Tensor, *, ld_alpha: float = 1.0, average: bool = False
) -> Tensor:
    """Sum or average of per-token values for one completion of each pair.

    Tokens beyond the length of the pair's other completion weigh `ld_alpha` (Liu et al. 2024, LD-DPO), so that a
    longer answer does not win or lose by its length alone; 1 is the plain sum.

    Args:
        values: `[N, T]`.
        mask: `[N, T]`; only tokens that count add to an answer's length.
        rows: the completion of each pair, `[M]`.
        others: the other completion of each pair, `[M]`.
        ld_alpha: α, from 0 to 1.
        average: divide by the sum of the weights.

    Returns:
        `[M]`.
    """
    if ld_alpha == 1.0:
        sums, lengths = masked_sum(values, mask), mask.sum(dim=-1).to(values.dtype)
        return (sums / lengths.clamp(min=1) if average else sums)[rows]
    position = mask.cumsum(dim=-1)[rows]  # [M, T], from 1
    beyond = position > mask.sum(dim=-1)[others][:, None]
    weight = torch.where(beyond, ld_alpha, 1.0).to(values.dtype)
    sums = masked_sum(values[rows] * weight, mask[rows])
    return sums / masked_sum(weight, mask[rows]).clamp(min=1e-6) if average else sums
