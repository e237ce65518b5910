"""Policy-gradient and value losses, one number per token; the caller reduces.

`log_ratios` is `log π − log π_old`, limited to ±20, `[N, T]`: of each token, or of its whole completion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.core.lazy import torch
from gnomon.losses.kl import log_ratio
from gnomon.losses.reduce import masked_sum

if TYPE_CHECKING:
    from torch import Tensor


def reinforce_loss(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """`−A·log π` for each token, `[N, T]` (Williams 1992): its gradient is `−A·∇log π`."""
    return -advantages * logprobs


def clipped_policy_loss(
    log_ratios: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float, dual_clip: float | None = None
) -> Tensor:
    """The clipped surrogate of PPO (Schulman et al. 2017, eq. 7), negated to be minimized.

    `−min(ρ·A, clip(ρ, 1 − clip_low, 1 + clip_high)·A)`; with `dual_clip` c > 1 a bad token cannot cost more than
    `−c·A` however likely it became (Ye et al. 2020, eq. 5).

    Args:
        log_ratios: `[N, T]`.
        advantages: `[N, T]`.
        clip_low: how far below 1 the ratio may still earn.
        clip_high: how far above 1.
        dual_clip: c, or `None`.

    Returns:
        Loss for each token, `[N, T]`.
    """
    ratio = log_ratios.exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    if dual_clip is None:
        return loss
    return torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)


def clipped_share(log_ratios: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """1 where the clip stopped the gradient of `clipped_policy_loss`, else 0, `[N, T]`.

    Args:
        log_ratios: `[N, T]`.
        advantages: `[N, T]`.
        clip_low: as in `clipped_policy_loss`.
        clip_high: as in `clipped_policy_loss`.
    """
    ratio = log_ratios.exp()
    above = (ratio > 1 + clip_high) & (advantages > 0)
    below = (ratio < 1 - clip_low) & (advantages < 0)
    return (above | below).float()


def clipped_weight_loss(
    logprobs: Tensor, log_ratios: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float
) -> Tensor:
    """`−sg(clip(ρ))·A·log π` for each token, `[N, T]` (MiniMax 2025, CISPO, eq. 4).

    The weight is clipped, not the token: every token keeps a gradient.

    Args:
        logprobs: `[N, T]`.
        log_ratios: `[N, T]`.
        advantages: `[N, T]`.
        clip_low: how far below 1 the weight may be.
        clip_high: how far above 1.
    """
    weight = log_ratios.detach().exp().clamp(1 - clip_low, 1 + clip_high)
    return -weight * advantages * logprobs


def sequence_log_ratio(log_ratios: Tensor, mask: Tensor) -> Tensor:
    """Mean log-ratio of a completion's tokens, on each of them, `[N, T]` (Zheng et al. 2025, GSPO, eq. 7)."""
    mean = masked_sum(log_ratios, mask) / mask.sum(dim=-1).clamp(min=1)
    return mean[:, None].expand_as(log_ratios)


def truncated_weight(logprobs: Tensor, sampler_logprobs: Tensor, cap: float) -> Tensor:
    """`min(π_old/π_sampler, cap)` for each token, detached, `[N, T]` (Yao et al. 2025).

    Corrects for small differences between sampler and trainer; multiplies the loss beside the ratio.

    Args:
        logprobs: of the trainer's policy before the update, `[N, T]`.
        sampler_logprobs: `[N, T]`.
        cap: largest weight.
    """
    return log_ratio(logprobs, sampler_logprobs).exp().clamp(max=cap).detach()


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, *, clip: float) -> Tensor:
    """`½·max((V − R)², (clip(V, V_old ± clip) − R)²)` for each token, `[N, T]`.

    The pessimistic value loss in the code of Ziegler et al. (2019): moving more than `clip` from the value at
    sampling time does not lower the loss.

    Args:
        values: `[N, T]`.
        old_values: at sampling time, `[N, T]`.
        returns: `[N, T]`.
        clip: largest move that lowers the loss.
    """
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())
