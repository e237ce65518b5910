"""The price of the KL where a loss asks it, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.core.batches import Experience
from gnomon.core.lazy import torch
from gnomon.losses.kl import ESTIMATORS, prefix_weight

if TYPE_CHECKING:
    from torch import Tensor


def penalty(logprobs: Tensor, batch: Experience, mask: Tensor) -> Tensor:
    """The KL estimate of each token that the loss prices, `[N, T]`."""
    assert batch.penalty is not None
    assert batch.reference_logprobs is not None
    reference = torch.where(mask, batch.reference_logprobs, logprobs.detach())
    found = ESTIMATORS[batch.penalty.estimator](logprobs, reference)
    return found * prefix_weight(logprobs, mask) if batch.penalty.exact else found
