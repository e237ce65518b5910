"""Dr. GRPO: GRPO without its two biases.

Paper: Liu et al. 2025, "Understanding R1-Zero-like training", section 3.2: `A_n = R_n − mean`, not divided by the
group's deviation; the sum over tokens is divided by a constant, not by the completion's length. What is left of a
bias is the factor (K−1)/K of a mean that includes the completion itself: a matter of the step size while the KL
is in the reward. In the loss (`kl.placement`) the penalty keeps its size, and the optimum is
π_ref·exp(r·(K−1)/(K·β)).

Wrong when it matters that every prompt moves the policy alike: here prompts of large spread move it more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gnomon.algorithms._completion_advantages import group_advantages
from gnomon.algorithms._policy_gradient import Aggregate, PolicyGradient
from gnomon.core.experience import Experience


@dataclass(frozen=True, kw_only=True)
class DrGRPO(PolicyGradient):
    """GRPO done right."""

    loop_defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 1}
    min_group_size: ClassVar[int] = 2
    aggregate: Aggregate = "constant"

    def compute_advantages(self, experience: Experience) -> Experience:
        """The completion's return less its group's mean, on every token."""
        return group_advantages(experience, scaled=False)
