"""Expert iteration: sample, keep the best of each group, imitate it.

Formula: `−log π(y)` summed over the `keep` best completions of each prompt by reward (Anthony et al. 2017; for
language models Dong et al. 2023, RAFT; with one round, best-of-n distillation). The KL inside the reward counts
when the best are chosen.

Wrong when bad samples carry the lesson: they are only left out, never pushed away. It converges to the best that
is sampled, not to π* ∝ π_ref·exp(r/β).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from gnomon.algorithms._completion_advantages import completion_returns, with_advantages
from gnomon.algorithms._policy_gradient import PolicyGradient
from gnomon.core.experience import Experience
from gnomon.core.ranges import Range
from gnomon.losses.advantages import best_of_group
from gnomon.losses.policy_gradient import reinforce_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ExpertIteration(PolicyGradient):
    """Imitate the best.

    Attributes:
        keep: number of best completions per group.
    """

    loop_defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 1, "kl": {"coef": 0.0, "target": None}}
    min_group_size: ClassVar[int] = 2
    keep: Annotated[int, Range("it counts completions of a group", ge=1, le=10**6)] = 1

    def compute_advantages(self, experience: Experience) -> Experience:
        """1 on the tokens of the best completions, 0 on the others'."""
        returns = completion_returns(experience)
        best = best_of_group(returns, experience.tokens.group, self.keep)
        return with_advantages(experience, best.to(returns.dtype))

    def surrogate(self, logprobs: Tensor, log_ratios: Tensor, advantages: Tensor) -> Tensor:
        """The negative log-likelihood of the best completions, `[N, T]`.

        Args:
            logprobs: of the policy, `[N, T]`.
            log_ratios: log π/π_old, `[N, T]`.
            advantages: `[N, T]`.
        """
        return reinforce_loss(logprobs, advantages)
