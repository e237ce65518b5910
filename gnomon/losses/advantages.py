"""Advantages of tokens and completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.core.lazy import torch
from gnomon.losses.reduce import masked, masked_mean, masked_variance

if TYPE_CHECKING:
    from torch import Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float) -> Tensor:
    """Generalized advantage estimation (Schulman et al. 2016, eq. 16).

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


def returns_to_go(rewards: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """`G_t = r_t + γ·G_{t+1}` over the tokens that count, `[N, T]`.

    Args:
        rewards: `[N, T]`.
        mask: `[N, T]`.
        gamma: discount per action.
    """
    returns = torch.zeros_like(rewards)
    later = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        later = torch.where(mask[:, t], rewards[:, t] + gamma * later, later)
        returns[:, t] = torch.where(mask[:, t], later, 0.0)
    return returns


def group_sums(values: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Sum `values` `[N]` over each completion's group; returns the sums and the groups' sizes, both `[N]`."""
    count = int(group.max()) + 1
    group = group.to(values.device)
    totals = values.new_zeros(count).index_add(0, group, values)
    sizes = values.new_zeros(count).index_add(0, group, torch.ones_like(values))
    return totals[group], sizes[group]


def leave_one_out(returns: Tensor, group: Tensor) -> Tensor:
    """`R_n` minus the mean of the *others* of its group, `[N]` (Kool et al. 2019; Ahmadian et al. 2024).

    The baseline does not depend on the completion itself, so the gradient stays unbiased; with the mean of the
    whole group it would be (K − 1)/K of it. The result is 0 in a group of one and among equal returns.
    """
    size = group_sums(returns, group)[1]
    return group_centered(returns, group, scaled=False) * size / (size - 1).clamp(min=1)


def zero_variance_in_group(returns: Tensor, group: Tensor) -> Tensor:
    """True where a completion's group has equal returns up to rounding, `[N]` boolean."""
    total, size = group_sums(returns, group)
    return _zero_variance(returns, _deviation(returns - total / size, group, size), group)


def _deviation(centered: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """Standard deviation of each completion's group, with divisor K − 1, `[N]`."""
    squares, _ = group_sums(centered.square(), group)
    return (squares / (size - 1).clamp(min=1)).sqrt()


def _zero_variance(returns: Tensor, deviation: Tensor, group: Tensor) -> Tensor:
    """True where a group's deviation is only rounding, relative to its own largest return, `[N]` boolean."""
    group = group.to(returns.device)
    largest = torch.zeros_like(returns).scatter_reduce(0, group, returns.abs(), "amax")
    return deviation <= 1e-6 * largest[group].clamp(min=1e-6)


def group_centered(returns: Tensor, group: Tensor, *, scaled: bool) -> Tensor:
    """`R_n` minus its group's mean, if `scaled` divided by the group's deviation, `[N]` (Shao et al. 2024, GRPO).

    Groups with equal returns get exact zeros.

    Args:
        returns: `[N]`.
        group: `[N]`, the group of each completion.
        scaled: divide by the group's standard deviation.
    """
    total, size = group_sums(returns, group)
    centered = returns - total / size
    deviation = _deviation(centered, group, size)
    advantages = centered / (deviation + 1e-4) if scaled else centered
    return torch.where(_zero_variance(returns, deviation, group), 0.0, advantages)


def best_of_group(returns: Tensor, group: Tensor, keep: int) -> Tensor:
    """True where a completion is among the `keep` best of its group, `[N]` boolean.

    Args:
        returns: `[N]`.
        group: `[N]`, the group of each completion.
        keep: completions of a group; earlier ones win ties.
    """
    best = torch.zeros(len(returns), dtype=torch.bool, device=returns.device)
    for g in range(int(group.max()) + 1):
        rows = (group == g).nonzero().squeeze(1).to(returns.device)
        order = returns[rows].argsort(descending=True, stable=True)
        best[rows[order[:keep]]] = True
    return best


def best_and_worst(returns: Tensor, group: Tensor) -> Tensor:
    """+1 for the best of each group, −1 for the worst, 0 for the rest and where returns are equal, `[N]`."""
    sides = torch.zeros_like(returns)
    equal = zero_variance_in_group(returns, group)
    for g in range(int(group.max()) + 1):
        rows = (group == g).nonzero().squeeze(1).to(returns.device)
        if len(rows) and not bool(equal[rows[0]]):
            sides[rows[returns[rows].argmax()]] = 1.0
            sides[rows[returns[rows].argmin()]] = -1.0
    return sides


def on_every_token(values: Tensor, mask: Tensor) -> Tensor:
    """Repeat one number per completion on each of its tokens, `[N] -> [N, T]`."""
    return masked(values[:, None].expand(mask.shape), mask)


def whiten(values: Tensor, mask: Tensor, *, keep_mean: bool = False) -> Tensor:
    """Scale to unit variance over the tokens that count, `[N, T]`.

    Args:
        values: `[N, T]`.
        mask: `[N, T]`.
        keep_mean: keep the mean instead of moving it to 0.
    """
    mean = masked_mean(values, mask)
    scaled = (values - mean) * torch.rsqrt(masked_variance(values, mask) + 1e-8)
    return masked(scaled + mean if keep_mean else scaled, mask)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """`1 − Var(returns − values) / Var(returns)`: 1 is a perfect critic, 0 no better than a constant, `[]`.

    Args:
        values: `[N, T]`, of the critic.
        returns: `[N, T]`.
        mask: `[N, T]`.
    """
    return 1 - masked_variance(returns - values, mask) / masked_variance(returns, mask).clamp(min=1e-8)
