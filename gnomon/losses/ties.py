"""Losses of pairs in which raters may call two completions equal: log-scores in, one number per pair out.

A pair has three outcomes: the first is preferred, the second is, or it is a tie. Its loss is the cross-entropy of
the shares of raters, `−w₁·log P(first) − w₂·log P(second) − t·log P(tie)`. With `probability` p, which counts
ties half, w₁ = p − t/2 and w₂ = 1 − p − t/2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor


def davidson(margin: Tensor, probability: Tensor, tie: Tensor, log_nu: Tensor) -> Tensor:
    """Cross-entropy under Davidson (1970), `[M]`.

    `P(first) = π₁/(π₁ + π₂ + ν√(π₁π₂))` and `P(tie) = ν√(π₁π₂)/(π₁ + π₂ + ν√(π₁π₂))` with π = exp(score), so that
    the three outcomes are a softmax over (Δ/2, −Δ/2, log ν). Of two equal completions, ν/(2 + ν) of the
    judgements are ties; with ν = 0 it is Bradley–Terry.

    Args:
        margin: Δ, the first score minus the second, `[M]`.
        probability: share of raters who prefer the first, ties counted half, `[M]`.
        tie: share of ties, `[M]`.
        log_nu: log ν, `[]`.
    """
    logits = torch.stack([margin / 2, -margin / 2, log_nu.expand_as(margin)], dim=-1)  # [M, 3]
    return -(outcome_shares(probability, tie) * logits.log_softmax(dim=-1)).sum(dim=-1)


def rao_kupper(margin: Tensor, probability: Tensor, tie: Tensor, log_theta: Tensor) -> Tensor:
    """Cross-entropy under Rao and Kupper (1967), `[M]`.

    `P(first) = π₁/(π₁ + θπ₂) = σ(Δ − η)` and `P(tie) = (θ² − 1)·π₁π₂/((π₁ + θπ₂)(π₂ + θπ₁))` with π = exp(score)
    and η = log θ > 0: a rater calls two completions equal whose perceived difference is below η. Of two equal
    completions, (θ − 1)/(θ + 1) of the judgements are ties.

    Args:
        margin: Δ, the first score minus the second, `[M]`.
        probability: share of raters who prefer the first, ties counted half, `[M]`.
        tie: share of ties, `[M]`.
        log_theta: η, above 0, `[]`.
    """
    first, second = F.logsigmoid(margin - log_theta), F.logsigmoid(-margin - log_theta)
    even = torch.log(torch.expm1(2 * log_theta)) + first + second
    return -(outcome_shares(probability, tie) * torch.stack([first, second, even], dim=-1)).sum(dim=-1)


def outcome_shares(probability: Tensor, tie: Tensor) -> Tensor:
    """Shares of raters who prefer the first, who prefer the second, and who call it a tie, `[M, 3]`."""
    return torch.stack([probability - tie / 2, 1 - probability - tie / 2, tie], dim=-1)


def majority_outcome(probability: Tensor, tie: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and share of ties, `[M]` each, as if all raters had judged as most of them did.

    Where as many prefer the first as the second, and few call it a tie, half of the raters prefer each.
    """
    shares = outcome_shares(probability, tie)
    tied = (tie > shares[..., :2].amax(dim=-1)).to(tie.dtype)
    lead = probability - 0.5
    one_side = (lead > 0).to(tie.dtype) + 0.5 * (lead == 0)
    return torch.where(tied > 0, 0.5, one_side), tied
