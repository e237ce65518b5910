"""RTO: token rewards from a model trained with DPO, then PPO.

Paper: Zhong et al. 2024, "DPO meets PPO": `r_t = β₁·(log π_dpo − log π_ref)(y_t) − β₂·(log π − log π_ref)(y_t)`,
on the last token plus the score. A DPO model's log-ratio is the token reward that explains the preferences, so
credit need not travel from the end to the token that earned it. The KL penalty β₂ is `training.kl`.

Wrong when the DPO model is poor or over-trained: its log-ratios are then large and wrong everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gnomon.algorithms._actor_critic import ActorCritic
from gnomon.core.experience import Experience
from gnomon.core.ranges import Weight
from gnomon.losses.advantages import gae, whiten
from gnomon.losses.reduce import masked


@dataclass(frozen=True, kw_only=True)
class RTO(ActorCritic):
    """Reinforced token optimization.

    Attributes:
        token_weight: β₁, the weight of the token rewards.
    """

    token_weight: Weight = 0.05

    @property
    def needs(self) -> frozenset[str]:
        """The reference, a critic, and the model whose log-ratios are token rewards."""
        return frozenset({"reference", "critic", "token_reward"})

    def compute_advantages(self, experience: Experience) -> Experience:
        """GAE over score, KL penalty and token rewards; whitened."""
        assert experience.rewards is not None
        assert experience.values is not None
        assert experience.token_rewards is not None
        mask = experience.tokens.mask.to(experience.rewards.device)
        rewards = experience.rewards + self.token_weight * masked(experience.token_rewards, mask)
        advantages = gae(rewards, experience.values, mask, gamma=1.0, gae_lambda=self.gae_lambda)
        returns = masked(advantages + experience.values, mask)
        return replace(experience, rewards=rewards, advantages=whiten(advantages, mask), returns=returns)
