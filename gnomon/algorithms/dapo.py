"""DAPO: GRPO for long chains of thought: clip higher, sample until groups differ, weigh tokens alike.

Paper: Yu et al. 2025, "DAPO", eq. 8 to 13. The upper clip is wider, so that rare tokens may grow; groups whose
scores are all equal are replaced by other prompts' (`training.dynamic_sampling_rounds`); every token of the step
has the same weight; completions near the length limit get a penalty that ramps down to −1
(`training.overlong_buffer`) instead of a jump; no KL.

Wrong when the policy must stay close to the reference: nothing here holds it; set `training.kl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gnomon.algorithms._completion_advantages import group_advantages
from gnomon.algorithms._policy_gradient import ClipHigh, PolicyGradient
from gnomon.core.experience import Experience


@dataclass(frozen=True, kw_only=True)
class DAPO(PolicyGradient):
    """Decoupled clip and dynamic sampling."""

    loop_defaults: ClassVar[Mapping[str, Any]] = {
        "dynamic_sampling_rounds": 2,
        "overlong_buffer": 8,
        "truncation_score": None,
        "kl": {"coef": 0.0, "target": None},
    }
    min_group_size: ClassVar[int] = 2
    clip_high: ClipHigh = 0.28

    def compute_advantages(self, experience: Experience) -> Experience:
        """The completion's return relative to its group, in its deviations, on every token."""
        return group_advantages(experience, scaled=True)
