"""Losses of single completions labeled good or bad: rewards in, one number each out; the caller reduces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.core.lazy import torch
from gnomon.losses.preference import logsigmoid_loss

if TYPE_CHECKING:
    from torch import Tensor


def kto_loss(
    rewards: Tensor, good: Tensor, baseline: float, *, good_weight: float = 1.0, bad_weight: float = 1.0
) -> Tensor:
    """KTO loss, after Kahneman and Tversky's prospect theory, `[N]` (Ethayarajh et al. 2024, eq. 8).

    `λ_D·(1 − σ(r − z))` for good completions, `λ_U·(1 − σ(z − r))` for bad ones: it is flat far from the baseline
    on both sides, so a label that the policy strongly contradicts hardly counts.

    Args:
        rewards: `[N]`.
        good: boolean `[N]`.
        baseline: z, the reward of a neutral completion.
        good_weight: λ_D.
        bad_weight: λ_U.
    """
    margin = torch.where(good, rewards - baseline, baseline - rewards)
    weight = torch.where(good, good_weight, bad_weight).to(rewards.dtype)
    return weight * torch.sigmoid(-margin)


def bco_loss(rewards: Tensor, good: Tensor, baseline: float) -> Tensor:
    """BCO loss: cross-entropy of a classifier whose logit is `r − δ`, `[N]` (Jung et al. 2024).

    Args:
        rewards: `[N]`.
        good: boolean `[N]`.
        baseline: δ.
    """
    return logsigmoid_loss(torch.where(good, rewards - baseline, baseline - rewards))
