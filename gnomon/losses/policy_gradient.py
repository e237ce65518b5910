"""Clipped policy-gradient and value losses, one number a token; the caller reduces."""

from __future__ import annotations

import torch
from torch import Tensor

from gnomon.losses.kl import log_ratio


def clipped_policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float
) -> Tensor:
    """The clipped surrogate of PPO (Schulman et al. 2017, eq. 7), negated to be minimised.

    `−min(ρ·A, clip(ρ, 1 − clip_low, 1 + clip_high)·A)` with `ρ = π/π_old`.

    Args:
        logprobs: `[N, T]`, of the policy being trained.
        old_logprobs: `[N, T]`, of the policy that sampled.
        advantages: `[N, T]`.
        clip_low: how far below 1 the ratio may still earn.
        clip_high: how far above 1.

    Returns:
        Loss for each token, `[N, T]`.
    """
    ratio = log_ratio(logprobs, old_logprobs).exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return torch.maximum(-advantages * ratio, -advantages * clipped)


def clipped_share(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float
) -> Tensor:
    """1 where the clip stopped the gradient of `clipped_policy_loss`, else 0, `[N, T]`."""
    ratio = log_ratio(logprobs, old_logprobs).exp()
    above = (ratio > 1 + clip_high) & (advantages > 0)
    below = (ratio < 1 - clip_low) & (advantages < 0)
    return (above | below).float()


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, *, clip: float) -> Tensor:
    """`½·max((V − R)², (clip(V, V_old ± clip) − R)²)` for each token, `[N, T]`.

    The pessimistic value loss of Ziegler et al. (2019): a move of more than `clip` from the value at sampling
    time earns nothing.
    """
    kept = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (kept - returns).square())
