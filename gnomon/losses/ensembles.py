"""Ensembles of E reward models: one score per completion from E, and how far the members disagree.

Scores are `[E, N]`, each member's in logits of being preferred and on a zero point of its own training data. A
member without a score for a row (NaN) leaves the row without one: a mean over the others would be the score of
another ensemble.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gnomon.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor


def mean_score(scores: Tensor) -> Tensor:
    """Mean over members, `[E, N] -> [N]`."""
    return scores.mean(dim=0)


def median_score(scores: Tensor) -> Tensor:
    """Median over members, `[E, N] -> [N]`; of an even number the mean of the middle two."""
    ordered = scores.sort(dim=0).values
    low, high = (len(scores) - 1) // 2, len(scores) // 2
    return _where_complete(scores, (ordered[low] + ordered[high]) / 2)


def trimmed_mean_score(scores: Tensor, trim: float) -> Tensor:
    """Mean without the `⌊trim·E⌋` lowest and as many highest scores of each row, `[E, N] -> [N]`.

    Args:
        scores: `[E, N]`.
        trim: share that is cut at each end, below ½.
    """
    cut = math.floor(trim * len(scores) + 1e-9)
    ordered = scores.sort(dim=0).values
    return _where_complete(scores, ordered[cut : len(scores) - cut].mean(dim=0))


def minimum_score(scores: Tensor) -> Tensor:
    """Lowest score of any member, `[E, N] -> [N]` (worst-case optimization, Coste et al. 2023, eq. 3)."""
    return scores.amin(dim=0)


def penalized_score(scores: Tensor, coef: float) -> Tensor:
    """Mean minus λ standard deviations over members, `[E, N] -> [N]`.

    Coste et al. (2023, eq. 4) subtract λ times the variance; with the deviation λ has no unit.

    Args:
        scores: `[E, N]`.
        coef: λ, not negative.
    """
    return scores.mean(dim=0) - coef * score_std(scores)


def weighted_score(scores: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum over members, `[E, N] -> [N]`; `weights` are `[E]` and need not add up to 1."""
    return _where_complete(scores, (weights.to(scores)[:, None] * scores).sum(dim=0))


def gated_score(scores: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """Sum over members weighted by a gate that reads their scores, `[E, N] -> [N]`.

    The gate of a row is `softmax(A·s + b)` (Jacobs et al. 1991, with the members' scores as the gate's input).

    Args:
        scores: s, `[E, N]`.
        matrix: A, `[E, E]`.
        bias: b, `[E]`.
    """
    gate = (matrix.to(scores) @ scores + bias.to(scores)[:, None]).softmax(dim=0)
    return (gate * scores).sum(dim=0)


def _where_complete(scores: Tensor, combined: Tensor) -> Tensor:
    """The combined scores, NaN in rows where a member has none: sorting and weights of 0 would hide that."""
    return combined.masked_fill(~scores.isfinite().all(dim=0), torch.nan)


def score_std(scores: Tensor) -> Tensor:
    """Standard deviation over members, `[E, N] -> [N]`, with divisor E: that of the members there are."""
    return scores.std(dim=0, unbiased=False)


def preference_entropy(margins: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy of the ensemble's preference in pairs, and the part due to disagreement, in nats, `[M]` each.

    Each member prefers the first completion with probability p_e = σ(Δ_e). The total is the entropy of the mean
    probability, `H(mean p_e)`; the mutual information of preference and member is `H(mean p_e) − mean H(p_e)`
    (Houlsby et al. 2011, eq. 2). The first is also high where all members see a close pair; the second is 0
    there, and more judgements lower it.

    Args:
        margins: Δ, each member's score of the first minus that of the second completion, `[E, M]`.
    """
    total = _binary_entropy(margins.sigmoid().mean(dim=0), 1 - margins.sigmoid().mean(dim=0))
    own = _binary_entropy(margins.sigmoid(), (-margins).sigmoid()).mean(dim=0)
    return total, (total - own).clamp(min=0)  # rounding may leave it below 0


def _binary_entropy(first: Tensor, second: Tensor) -> Tensor:
    """`−p·log p − q·log q`, 0 at the ends."""
    return -(torch.xlogy(first, first) + torch.xlogy(second, second))


def variance_ratio(scores: Tensor, floor: float = 1e-6) -> Tensor:
    """Variance over members relative to the variance of the mean scores over rows, `[E, N] -> [N]`.

    Above 1 the members disagree about a row by more than the rows differ.

    Args:
        scores: `[E, N]`.
        floor: least divisor, for rows that all have nearly the same score.
    """
    spread = scores.mean(dim=0).var(unbiased=False).clamp(min=floor)
    return scores.var(dim=0, unbiased=False) / spread


def gate_loss(first: Tensor, second: Tensor, probability: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """Mean cross-entropy of pairs under `gated_score`, `[]`, by which a gate is fitted.

    Args:
        first: members' scores of the first completion of each pair, `[E, M]`.
        second: of the second, `[E, M]`.
        probability: share of raters who prefer the first, `[M]`.
        matrix: A, `[E, E]`.
        bias: b, `[E]`.
    """
    margin = gated_score(first, matrix, bias) - gated_score(second, matrix, bias)
    return F.binary_cross_entropy_with_logits(margin, probability.to(margin))
