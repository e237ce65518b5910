"""Estimators of KL(policy ‖ reference) from tokens that the policy drew, and the rule that sets its price.

With `d = log π(y_t) − log π_ref(y_t)` (Schulman 2020, "Approximating KL divergence"):

* k1 = d: unbiased; negative at times. Subtracted from the *reward* with γ=1 it gives the exact gradient of the
  sequence KL.
* k2 = d²/2: low variance, slightly biased.
* k3 = exp(−d) − 1 + d: unbiased as a value and never negative. As a penalty in the loss its gradient follows
  another divergence, so here it serves for monitoring.
"""

from __future__ import annotations

from torch import Tensor

LOG_RATIO_LIMIT = 20.0


def log_ratio(logprobs: Tensor, other: Tensor) -> Tensor:
    """`log π − log π_other` in float32, limited to ±20 so that its exponential is finite, same shape."""
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
    return (-d).exp() - 1 + d


def adapt_coefficient(coefficient: float, kl: float, samples: int, *, target: float, horizon: float) -> float:
    """The next price β of a nat, to hold the KL of a completion at `target` (Ziegler et al. 2019, section 2.2).

    `β·(1 + clip(KL/target − 1, ±0.2)·n/horizon)`.

    Args:
        coefficient: β now.
        kl: mean KL of a completion over the last batch, in nats.
        samples: completions in that batch, n.
        target: KL to hold, in nats.
        horizon: samples over which β may change by about a fifth.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * samples / horizon)
