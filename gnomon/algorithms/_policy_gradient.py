"""Base class of policy-gradient algorithms: ratio, surrogate, KL term, reduction, metrics.

An algorithm defines `compute_advantages`, which gives each token its advantage, and overrides defaults of these
fields and, where its paper changes a formula, `log_ratios` or `surrogate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from gnomon.algorithms._kl_loss import kl_loss_per_token, policy_outputs
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Metrics
from gnomon.core.experience import Experience
from gnomon.core.lazy import torch
from gnomon.core.ranges import Positive, Range
from gnomon.losses.kl import log_ratio
from gnomon.losses.policy_gradient import clipped_policy_loss, clipped_share, truncated_weight
from gnomon.losses.reduce import constant_mean, masked, sequence_mean, token_mean

if TYPE_CHECKING:
    from torch import Tensor

Aggregate = Literal["token", "sequence", "constant"]
ClipLow = Annotated[float, Range("the ratio may fall to 1 − clip_low, which is not negative", ge=0, le=1)]
ClipHigh = Annotated[float, Range("the ratio may rise to 1 + clip_high", ge=0, le=1e6)]
Discount = Annotated[float, Range("a discount above 1 would grow with each token", ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class PolicyGradient:
    """Base class of policy-gradient algorithms; its class variables are those of `contract.Algorithm`.

    Attributes:
        clip_low: the ratio π/π_old is clipped below at 1 − clip_low.
        clip_high: and above at 1 + clip_high.
        dual_clip: bound on the loss of a token with a negative advantage, as a multiple of it; `None` is off.
        tis_cap: maximum importance weight π_old/π_sampler, if sampler and trainer differ.
        aggregate: mean over tokens (`token`), over completions (`sequence`), or the sum over tokens divided by
            the length limit (`constant`).
    """

    consumes: ClassVar[type] = Experience
    trains: ClassVar[str] = "policy"
    supports_kl_loss: ClassVar[bool] = True
    single_update: ClassVar[bool] = False
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1
    clip_low: ClipLow = 0.2
    clip_high: Annotated[float, Range("the ratio may rise to 1 + clip_high", ge=0, le=1e6)] = 0.2
    dual_clip: Annotated[float, Range("it bounds a loss beyond its advantage", gt=1, le=1e6)] | None = None
    tis_cap: Positive = 2.0
    aggregate: Aggregate = "token"

    @property
    def needs(self) -> frozenset[str]:
        """Nothing: the loop provides a reference if there is a KL penalty."""
        return frozenset()

    def log_ratios(self, raw: Tensor, mask: Tensor) -> Tensor:
        """Return the `log π/π_old` that the surrogate uses, given that of each token; all `[N, T]`."""
        return raw

    def surrogate(self, logprobs: Tensor, log_ratios: Tensor, advantages: Tensor) -> Tensor:
        """Compute the loss of each token, `[N, T]`.

        Args:
            logprobs: of the policy, `[N, T]`.
            log_ratios: log π/π_old, `[N, T]`.
            advantages: `[N, T]`.
        """
        low, high = self.clip_low, self.clip_high
        return clipped_policy_loss(log_ratios, advantages, clip_low=low, clip_high=high, dual_clip=self.dual_clip)

    def loss(self, models: Models, batch: Experience) -> tuple[Tensor, Metrics]:
        """Compute the surrogate loss, plus the KL penalty if it is in the loss, `[]`."""
        assert batch.advantages is not None
        tokens, token_count = batch.tokens, batch.totals.computed_tokens
        logprobs, entropy, full_kl = policy_outputs(models, batch)
        mask = tokens.mask.to(logprobs.device)
        # Padding may hold NaN, which a product with 0 would keep.
        old, advantages = masked(batch.old_logprobs, mask), masked(batch.advantages, mask)
        raw = log_ratio(logprobs, torch.where(mask, old, logprobs.detach()))
        log_ratios = self.log_ratios(raw, mask)
        per_token = self.surrogate(logprobs, log_ratios, advantages)
        if batch.sampler_logprobs is not None:
            per_token = per_token * truncated_weight(old, masked(batch.sampler_logprobs, mask), self.tis_cap)
        loss = policy_loss = self._reduce(per_token, mask, batch)
        metrics = {"policy_loss": policy_loss.detach()}
        if batch.penalty is not None:
            kl_loss = self._reduce_penalty(kl_loss_per_token(logprobs, batch, mask, full_kl), mask, batch)
            loss = loss + batch.penalty.coef * kl_loss
            metrics["kl_loss"] = kl_loss.detach()
        with torch.no_grad():
            clipped = clipped_share(log_ratios, advantages, clip_low=self.clip_low, clip_high=self.clip_high)
            metrics |= {
                "entropy": token_mean(entropy, mask, token_count),
                "clip_fraction": token_mean(clipped, mask, token_count),
                "approx_kl": token_mean(torch.expm1(raw) - raw, mask, token_count),
                "prob_abs_diff": token_mean((logprobs.exp() - old.exp()).abs(), mask, token_count),
            }
        return loss, {"loss": loss.detach(), **metrics}

    def _reduce(self, per_token: Tensor, mask: Tensor, batch: Experience) -> Tensor:
        """Reduce to what this micro-batch contributes to the step's loss, `[N, T] -> []`."""
        totals = batch.totals
        if self.aggregate == "token":
            return token_mean(per_token, mask, totals.tokens)
        if self.aggregate == "sequence":
            return sequence_mean(per_token, mask, totals.rows)
        return constant_mean(per_token, mask, totals.rows, totals.limit)

    def _reduce_penalty(self, per_token: Tensor, mask: Tensor, batch: Experience) -> Tensor:
        """Reduce the KL penalty, `[N, T] -> []`; its unbiased gradient allows no division by a row's length."""
        assert batch.penalty is not None
        if batch.penalty.unbiased_gradient and self.aggregate == "sequence":
            return token_mean(per_token, mask, batch.totals.tokens)
        return self._reduce(per_token, mask, batch)
