"""OPO: each completion against the mean of its group that weighs long completions more.

Paper: Hao et al. 2025, "On-Policy RL with Optimal Reward Baseline". The baseline of least variance is
`E[‖∇log π(y)‖²·R(y)] / E[‖∇log π(y)‖²]`. Where the gradients of tokens are equally long and at right angles, the
squared norm grows with the length, which gives `A_n = R_n − Σ_m l_m·R_m / Σ_m l_m`. One exact step a round.

Wrong when groups are small and their lengths differ: the mean includes the completion itself, with its length for
a weight, so long completions learn less than their share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gnomon.algorithms._completion_advantages import completion_returns, with_advantages
from gnomon.algorithms._policy_gradient import Aggregate, PolicyGradient
from gnomon.core.experience import Experience
from gnomon.losses.advantages import group_centered, group_sums


@dataclass(frozen=True, kw_only=True)
class OPO(PolicyGradient):
    """The baseline of least variance, by lengths."""

    loop_defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 1}
    min_group_size: ClassVar[int] = 2
    aggregate: Aggregate = "constant"

    def compute_advantages(self, experience: Experience) -> Experience:
        """The completion's return less its group's mean a token, on every token."""
        returns, group = completion_returns(experience), experience.tokens.group
        # The plain mean is taken out first, which leaves exact zeros where all returns of a group are alike.
        centered = group_centered(returns, group, scaled=False)
        lengths = experience.tokens.mask.sum(1).to(returns)
        total, tokens = group_sums(lengths * centered, group)[0], group_sums(lengths, group)[0]
        return with_advantages(experience, centered - total / tokens.clamp(min=1))
