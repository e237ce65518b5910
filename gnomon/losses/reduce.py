"""Reductions of per-token values to one number. The divisor changes what is learned, so each has a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """`values` where `mask`, exact zeros elsewhere (a NaN in the padding stays out), `[N, T]`."""
    return values.masked_fill(~mask, 0.0)


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the tokens of each completion, `[N, T] -> [N]`."""
    return masked(values, mask).sum(dim=-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all tokens that count, `[N, T] -> []`."""
    return masked(values, mask).sum() / mask.sum()


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """Variance over all tokens that count, divided by their number, `[N, T] -> []`."""
    return masked_mean((values - masked_mean(values, mask)).square(), mask)


def token_mean(values: Tensor, mask: Tensor, tokens: float) -> Tensor:
    """Every token weighs the same: sum over `[N, T]`, divided by the step's number of tokens, `[]`.

    Args:
        values: `[N, T]`.
        mask: `[N, T]`.
        tokens: tokens of the optimizer step.
    """
    return masked(values, mask).sum() / tokens


def sequence_mean(values: Tensor, mask: Tensor, rows: float) -> Tensor:
    """Every completion weighs the same: mean over its tokens, then over the step's completions, `[]`.

    Args:
        values: `[N, T]`.
        mask: `[N, T]`.
        rows: completions of the optimizer step.
    """
    return (masked_sum(values, mask) / mask.sum(dim=-1).clamp(min=1)).sum() / rows


def constant_mean(values: Tensor, mask: Tensor, rows: float, limit: float) -> Tensor:
    """Sum over tokens, divided by a constant for each completion: its length limit, not its length.

    Liu et al. 2025 (Dr. GRPO): a divisor that depends on the completion's length changes what is learned.

    Args:
        values: `[N, T]`.
        mask: `[N, T]`.
        rows: completions of the optimizer step.
        limit: length limit of a completion.
    """
    return masked(values, mask).sum() / (rows * limit)
