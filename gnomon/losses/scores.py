"""Losses of scores that people gave on a scale: a predicted number in, one loss per completion out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor


def squared_loss(prediction: Tensor, value: Tensor) -> Tensor:
    """`½(prediction − value)²`, `[M]`, both in standard deviations: a Gaussian's log-likelihood, negated."""
    return 0.5 * (prediction - value).square()


def logistic_loss(prediction: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy of a share s in [0, 1], `−s·log σ(x) − (1 − s)·log σ(−x)`, `[M]`, x in logits."""
    return -share * F.logsigmoid(prediction) - (1 - share) * F.logsigmoid(-prediction)


def cumulative_logit_loss(prediction: Tensor, level: Tensor, thresholds: Tensor) -> Tensor:
    """Negative log-likelihood of a level under cumulative logits (McCullagh 1980), `[M]`.

    `P(level ≤ k) = σ(θ_k − x)` for levels 0 … K−1 and thresholds that ascend. A value between two levels, such as
    a mean of several ratings, counts for both in proportion to its nearness.

    Args:
        prediction: x, `[M]`.
        level: from 0 to K − 1, `[M]`.
        thresholds: θ, `[K − 1]`.
    """
    log_chances = level_logprobs(prediction, thresholds)  # [M, K]
    lower = level.floor().long()
    upper = level.ceil().long()
    part = level - lower
    return -((1 - part) * _pick(log_chances, lower) + part * _pick(log_chances, upper))


def level_logprobs(prediction: Tensor, thresholds: Tensor) -> Tensor:
    """Log-probability of each level under cumulative logits, `[M, K]`.

    `log(σ(a) − σ(b)) = log σ(a) + log σ(−b) + log(1 − exp(b − a))` for neighboring thresholds b < a.

    Args:
        prediction: x, `[M]`.
        thresholds: θ, `[K − 1]`.
    """
    gaps = thresholds - prediction[:, None]  # [M, K - 1]
    below, above = F.logsigmoid(gaps), F.logsigmoid(-gaps)
    between = torch.log(-torch.expm1(thresholds[:-1] - thresholds[1:]))
    return torch.cat([below[:, :1], below[:, 1:] + above[:, :-1] + between, above[:, -1:]], dim=1)


def expected_level(prediction: Tensor, thresholds: Tensor) -> Tensor:
    """Expected level from 0 to K − 1 under cumulative logits, `Σ_k P(level > k)`, `[M]`.

    Args:
        prediction: x, `[M]`.
        thresholds: θ, `[K − 1]`.
    """
    return torch.sigmoid(prediction[:, None] - thresholds).sum(dim=-1)


def _pick(table: Tensor, column: Tensor) -> Tensor:
    return table.gather(1, column[:, None]).squeeze(1)
