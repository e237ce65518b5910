"""REINFORCE: the plain policy gradient, with reward-to-go and a baseline.

Formula: `−Σ_t (G_t − b)·log π(y_t)`, `G_t` the rewards from token t on (Williams 1992; Sutton et al. 2000).
The baseline is the mean score of former rounds (`running`), a critic's value (`critic`), or none; none of them
depends on the completion, so the gradient is unbiased with each.

Wrong when samples are dear: one pass a batch, and more variance than a group baseline (RLOO) or a critic with
λ < 1 (PPO) would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gnomon.algorithms._policy_gradient import Aggregate, Discount, PolicyGradient
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Metrics
from gnomon.core.experience import Experience
from gnomon.core.ranges import Weight
from gnomon.losses.advantages import returns_to_go
from gnomon.losses.policy_gradient import reinforce_loss
from gnomon.losses.reduce import constant_mean, masked

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Reinforce(PolicyGradient):
    """The plain policy gradient.

    Attributes:
        baseline: what is subtracted from a return.
        normalize: divide by the deviation of scores in former rounds; scales the step, not its direction.
        value_weight: weight of the critic's loss `½(V − G)²`, where there is one.
        gamma: discount per token.
    """

    single_update: ClassVar[bool] = True
    loop_defaults: ClassVar[Mapping[str, Any]] = {"epochs": 1, "minibatches": 1}
    baseline: Literal["running", "critic", "none"] = "running"
    normalize: bool = True
    value_weight: Weight = 0.1
    gamma: Discount = 1.0
    aggregate: Aggregate = "constant"

    @property
    def needs(self) -> frozenset[str]:
        """A critic where it is the baseline."""
        return frozenset({"critic"} if self.baseline == "critic" else ())

    def compute_advantages(self, experience: Experience) -> Experience:
        """`(G_t − b)/σ` for each token; b and σ are of former rounds, and 0 and 1 in the first."""
        assert experience.rewards is not None
        mask = experience.tokens.mask.to(experience.rewards.device)
        returns = returns_to_go(experience.rewards, mask, gamma=self.gamma)
        return_stats = experience.return_stats
        if self.baseline == "critic":
            assert experience.values is not None
            advantages = returns - experience.values
        else:
            advantages = returns - (return_stats.mean if self.baseline == "running" else 0.0)
        if self.normalize:
            advantages = advantages / return_stats.std
        return replace(experience, advantages=masked(advantages, mask), returns=returns)

    def surrogate(self, logprobs: Tensor, log_ratios: Tensor, advantages: Tensor) -> Tensor:
        """`−A·log π` without a ratio, `[N, T]`, as samples are used once.

        Args:
            logprobs: of the policy, `[N, T]`.
            log_ratios: log π/π_old, `[N, T]`.
            advantages: `[N, T]`.
        """
        return reinforce_loss(logprobs, advantages)

    def loss(self, models: Models, batch: Experience) -> tuple[Tensor, Metrics]:
        """Policy loss, plus the value loss of a critic if there is one, `[]`."""
        loss, metrics = super().loss(models, batch)
        if self.baseline != "critic":
            return loss, metrics
        assert batch.returns is not None
        values = models.critic.predict(batch.tokens, batch.critic_states).values
        error = 0.5 * (values - batch.returns).square()
        mask = batch.tokens.mask.to(values.device)
        value_loss = constant_mean(error, mask, batch.totals.rows, batch.totals.limit)
        loss = loss + self.value_weight * value_loss
        return loss, {**metrics, "loss": loss.detach(), "value_loss": value_loss.detach()}
