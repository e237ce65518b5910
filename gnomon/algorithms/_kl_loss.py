"""Policy outputs that a policy-gradient loss needs, and the KL term of the loss, per token.

The KL penalty in the reward is `gnomon.rollouts.experience.apply_kl_penalty`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.algorithms.contract import Models
from gnomon.core.experience import Experience
from gnomon.core.lazy import torch
from gnomon.losses.kl import ESTIMATORS, prefix_weight, state_weight

if TYPE_CHECKING:
    from torch import Tensor


def policy_outputs(models: Models, batch: Experience) -> tuple[Tensor, Tensor, Tensor | None]:
    """Compute log-probs, entropy, and the KL over the whole vocabulary if the loss needs it, `[N, T]` each."""
    tokens, temperature, states = batch.tokens, models.temperature, batch.reference_states
    if batch.penalty is not None and batch.penalty.estimator == "full":
        assert states is not None
        return models.policy.logprobs_entropy_and_kl(tokens, states, temperature=temperature)
    logprobs, entropy = models.policy.logprobs_and_entropy(tokens, temperature=temperature)
    assert entropy is not None
    return logprobs, entropy, None


def kl_loss_per_token(logprobs: Tensor, batch: Experience, mask: Tensor, full_kl: Tensor | None = None) -> Tensor:
    """Estimate the KL of each token for the loss, `[N, T]`.

    Args:
        logprobs: of the policy, with gradient, `[N, T]`.
        batch: with the penalty's settings.
        mask: trainable tokens, `[N, T]`.
        full_kl: the KL over the whole vocabulary at each token, `[N, T]`, for the `full` estimator.
    """
    assert batch.penalty is not None
    if batch.penalty.estimator == "full":
        assert full_kl is not None
        return full_kl * state_weight(logprobs, mask) if batch.penalty.unbiased_gradient else full_kl
    assert batch.reference_logprobs is not None
    reference = torch.where(mask, batch.reference_logprobs, logprobs.detach())
    estimate = ESTIMATORS[batch.penalty.estimator](logprobs, reference)
    return estimate * prefix_weight(logprobs, mask) if batch.penalty.unbiased_gradient else estimate
