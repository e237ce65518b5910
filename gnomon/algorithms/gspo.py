"""GSPO: the ratio is the completion's, not the token's.

Paper: Zheng et al. 2025, "Group sequence policy optimization", eq. 5 and 7: `s = exp(mean_t log π/π_old)`,
clipped in a band of a few ten-thousandths, times the group-relative advantage. A whole completion is kept or
clipped.

Wrong when several passes must move single tokens apart; and with one pass a batch it equals GRPO without its KL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms._completion_advantages import group_advantages
from gnomon.algorithms._policy_gradient import Aggregate, ClipHigh, ClipLow, PolicyGradient
from gnomon.core.experience import Experience
from gnomon.losses.policy_gradient import sequence_log_ratio

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GSPO(PolicyGradient):
    """Sequence-level ratio."""

    loop_defaults: ClassVar[Mapping[str, Any]] = {"kl": {"coef": 0.0, "target": None}}
    min_group_size: ClassVar[int] = 2
    clip_low: ClipLow = 3e-4
    clip_high: ClipHigh = 4e-4
    aggregate: Aggregate = "sequence"

    def compute_advantages(self, experience: Experience) -> Experience:
        """The completion's return relative to its group, in its deviations, on every token."""
        return group_advantages(experience, scaled=True)

    def log_ratios(self, raw: Tensor, mask: Tensor) -> Tensor:
        """Mean log-ratio of the completion, on each of its tokens, `[N, T]`."""
        return sequence_log_ratio(raw, mask)
