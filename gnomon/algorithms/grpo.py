"""GRPO: each completion against its group, in units of the group's deviation; the KL in the loss.

Formula: `A_n = (R_n − mean)/std` on every token of completion n, PPO's clipped surrogate averaged within each
completion and then over completions, plus `β·k3` (Shao et al. 2024, eq. 3 and 4).

Biased on purpose, or by accident: 1/length favours short good and long bad completions; 1/std favours prompts
that are nearly always or nearly never solved (Liu et al. 2025), from K = 4 on; the mean includes the completion
itself, which scales by (K−1)/K. Dr. GRPO is without the first two, RLOO without any. k3 in the loss, averaged
within each completion as the paper writes it, follows another divergence. Unless `kl.unbiased_gradient` is off,
it carries the weight here that makes its gradient that of the KL, and is averaged over the step's tokens. The
optimum is not π* even so: the surrogate is biased and the penalty is not.

Wrong when rewards differ little within a prompt (most groups give nothing), or when lengths matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gnomon.algorithms._completion_advantages import group_advantages
from gnomon.algorithms._policy_gradient import Aggregate, PolicyGradient
from gnomon.core.experience import Experience


@dataclass(frozen=True, kw_only=True)
class GRPO(PolicyGradient):
    """Group-relative policy optimization.

    Attributes:
        scale: divide by the group's deviation.
    """

    loop_defaults: ClassVar[Mapping[str, Any]] = {
        "minibatches": 1,
        "kl": {"coef": 0.04, "target": None, "placement": "loss", "estimator": "k3"},
    }
    min_group_size: ClassVar[int] = 2
    aggregate: Aggregate = "sequence"
    scale: bool = True

    def compute_advantages(self, experience: Experience) -> Experience:
        """The completion's return relative to its group, on every token."""
        return group_advantages(experience, scaled=self.scale)
