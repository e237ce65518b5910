"""CISPO: the importance weight is clipped, the token never is.

Paper: MiniMax 2025, "MiniMax-M1", eq. 4 and 5: `−sg(clip(ρ))·A·log π` with group-relative advantages and a mean
over all tokens. PPO's clip takes the gradient of rare but decisive tokens away; here each keeps it, bounded.

Wrong when batches are used for many passes: nothing stops a token from moving on; keep passes few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms._completion_advantages import group_advantages
from gnomon.algorithms._policy_gradient import ClipHigh, ClipLow, PolicyGradient
from gnomon.core.experience import Experience
from gnomon.losses.policy_gradient import clipped_weight_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CISPO(PolicyGradient):
    """Clipped importance weights. `clip_low` of 1 leaves small weights as they are."""

    loop_defaults: ClassVar[Mapping[str, Any]] = {"kl": {"coef": 0.0, "target": None}}
    min_group_size: ClassVar[int] = 2
    clip_low: ClipLow = 1.0
    clip_high: ClipHigh = 2.0

    def compute_advantages(self, experience: Experience) -> Experience:
        """The completion's return relative to its group, in its deviations, on every token."""
        return group_advantages(experience, scaled=True)

    def surrogate(self, logprobs: Tensor, log_ratios: Tensor, advantages: Tensor) -> Tensor:
        """`−sg(clip(ρ))·A·log π`, `[N, T]`.

        Args:
            logprobs: of the policy, `[N, T]`.
            log_ratios: log π/π_old, `[N, T]`.
            advantages: `[N, T]`.
        """
        return clipped_weight_loss(
            logprobs, log_ratios, advantages, clip_low=self.clip_low, clip_high=self.clip_high
        )
