"""Credit: which token earned the reward."""

from __future__ import annotations

import torch
from torch import Tensor

from gnomon.losses.reduce import masked, masked_mean, masked_variance


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16).

    `A_t = δ_t + γλ·A_{t+1}` with `δ_t = r_t + γ·V_{t+1} − V_t`, and 0 for the value after the last token. Tokens
    outside the mask (tool output, padding) are not actions: credit passes over them to the next one that is.

    Args:
        rewards: `[N, T]`.
        values: `[N, T]`, the value of the state *before* each token is chosen.
        mask: `[N, T]`.
        gamma: discount per action.
        gae_lambda: 1 trusts the observed return, 0 the critic.

    Returns:
        Advantages `[N, T]`, zero outside the mask. `advantages + values` are the returns.
    """
    advantages = torch.zeros_like(rewards)
    next_value = torch.zeros_like(rewards[:, 0])
    next_advantage = torch.zeros_like(next_value)
    for t in reversed(range(rewards.shape[1])):
        counts = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * gae_lambda * next_advantage
        next_advantage = torch.where(counts, advantage, next_advantage)
        next_value = torch.where(counts, values[:, t], next_value)
        advantages[:, t] = torch.where(counts, advantage, 0.0)
    return advantages


def whiten(values: Tensor, mask: Tensor, *, keep_mean: bool = False) -> Tensor:
    """Scale to unit variance over the tokens that count, and to mean 0 unless `keep_mean`, `[N, T]`."""
    mean = masked_mean(values, mask)
    scaled = (values - mean) * torch.rsqrt(masked_variance(values, mask) + 1e-8)
    return masked(scaled + mean if keep_mean else scaled, mask)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """`1 − Var(returns − values) / Var(returns)`: 1 is a perfect critic, 0 no better than a constant, `[]`."""
    return 1 - masked_variance(returns - values, mask) / masked_variance(returns, mask).clamp(min=1e-8)
