"""RLOO: each completion against the mean of the others for its prompt.

Formula: `A_n = R_n − (1/(K−1))·Σ_{m≠n} R_m`, the same on each token (Kool et al. 2019; Ahmadian et al. 2024,
section 2.3). The baseline leaves the completion out, so the expected gradient is exactly that of E[R].

Wrong when a prompt can only be answered once (no group), or when credit must reach single tokens of long
completions: there a critic (PPO) can tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gnomon.algorithms._completion_advantages import completion_returns, with_advantages
from gnomon.algorithms._policy_gradient import Aggregate, PolicyGradient
from gnomon.core.experience import Experience
from gnomon.losses.advantages import leave_one_out


@dataclass(frozen=True, kw_only=True)
class RLOO(PolicyGradient):
    """Leave-one-out."""

    loop_defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 1}
    min_group_size: ClassVar[int] = 2
    aggregate: Aggregate = "constant"

    def compute_advantages(self, experience: Experience) -> Experience:
        """The completion's return less that of its fellows, on every token."""
        returns = completion_returns(experience)
        return with_advantages(experience, leave_one_out(returns, experience.tokens.group))
