"""Supervised fine-tuning: imitate demonstrations, token by token.

Formula: `−(1/T)·Σ_n w_n·Σ_t log π(y_t | x, y_<t)`, T the completion tokens of the whole step; prompt tokens are
not trained. Ouyang et al. 2022, section 3.5.

Wrong when demonstrations are worse than what the model already samples: it will learn to be as bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms.contract import Models
from gnomon.core.batches import Demonstrations, Metrics
from gnomon.core.types import Demonstration
from gnomon.losses.reduce import token_mean

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SFT:
    """Supervised fine-tuning. It has no settings of its own."""

    consumes: ClassVar[type] = Demonstration
    trains: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset()
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1

    def loss(self, models: Models, batch: Demonstrations) -> tuple[Tensor, Metrics]:
        """Mean negative log-likelihood of a completion token, in nats, `[]`."""
        logprobs = models.policy.logprobs(batch.tokens)  # [N, T]
        mask = batch.tokens.mask.to(logprobs.device)
        weighted = -logprobs * batch.weight.to(logprobs.device)[:, None]
        loss = token_mean(weighted, mask, batch.totals.tokens)
        return loss, {"loss": loss.detach()}
