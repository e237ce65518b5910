"""Estimators of KL(policy ‖ reference) from tokens that the policy drew, and controllers of the KL coefficient.

With `d = log π(y_t) − log π_ref(y_t)` (Schulman 2020, "Approximating KL divergence"):

* k1 = d: unbiased; negative at times. Subtracted from the *reward* with γ=1 it gives the exact gradient of the
  sequence KL.
* k2 = d²/2: low variance, slightly biased.
* k3 = exp(−d) − 1 + d: unbiased as a value and never negative.

As a penalty in the *loss*, an estimator acts through its gradient: k1's is zero on average, k3's is that of
another divergence (its fixed point for one token is π = β·π_ref/(λ − r)), k2's is right for single tokens and the
first step after sampling. With `prefix_weight` it is the gradient of the estimator's expectation: for k1 and k3
the KL, for k2 half the mean square of d.

`gnomon.rollouts.experience.apply_kl_penalty` subtracts an estimate from the rewards; `gnomon.algorithms._kl_loss`
adds one to the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gnomon.core.lazy import torch
from gnomon.losses.reduce import masked

if TYPE_CHECKING:
    from torch import Tensor

LOG_RATIO_LIMIT = 20.0


def log_ratio(logprobs: Tensor, other: Tensor) -> Tensor:
    """`log π − log π_other` in float32, limited to ±20 so that its exponential is finite, `[N, T]`."""
    return (logprobs.float() - other.float()).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """`d`, in nats for each token, `[N, T]`."""
    return log_ratio(logprobs, reference_logprobs)


def k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """`d²/2`, in nats for each token, `[N, T]`."""
    return log_ratio(logprobs, reference_logprobs).square() / 2


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """`exp(−d) − 1 + d`, in nats for each token, `[N, T]`."""
    d = log_ratio(logprobs, reference_logprobs)
    return torch.expm1(-d) + d


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


def prefix_weight(logprobs: Tensor, mask: Tensor) -> Tensor:
    """1 in value; its gradient is that of `log π(y_1 … y_t)`, `[N, T]`.

    A sampled token's penalty times this weight has the gradient of the expected penalty, which also depends on
    the probability of reaching that token: `∇E[k] = E[∇k + k·∇log π(y_≤t)]`.
    """
    so_far = masked(logprobs, mask).cumsum(dim=-1)
    return (so_far - so_far.detach()).exp()


def state_weight(logprobs: Tensor, mask: Tensor) -> Tensor:
    """1 in value; its gradient is that of `log π(y_1 … y_{t−1})`, `[N, T]`.

    For a penalty that belongs to the state before a token, such as the KL over the whole vocabulary: the
    probability of reaching that state does not depend on the token itself.
    """
    before = masked(logprobs, mask).cumsum(dim=-1) - masked(logprobs, mask)
    return (before - before.detach()).exp()


def adapt_coefficient(coefficient: float, kl: float, samples: int, *, target: float, horizon: float) -> float:
    """Adaptive KL coefficient β that holds a completion's KL at `target` (Ziegler et al. 2019, section 2.2).

    `β·(1 + clip(KL/target − 1, ±0.2)·n/horizon)`. The paper has 0.1 in place of `n/horizon`, their code as here.

    Args:
        coefficient: current β.
        kl: mean KL of a completion over the last batch, in nats.
        samples: completions in that batch, n.
        target: KL to hold, in nats.
        horizon: samples over which β may change by about a fifth.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * samples / horizon)


def halve_or_raise(coefficient: float, kl: float, *, target: float) -> float:
    """Threshold controller of the KL coefficient: ×1.5 above 1.5 targets, ×0.5 below half a target.

    Args:
        coefficient: current β.
        kl: mean KL of a completion over the last batch, in nats.
        target: KL to hold, in nats.
    """
    if kl > 1.5 * target:
        return coefficient * 1.5
    return coefficient * 0.5 if kl < 0.5 * target else coefficient
