"""PPO: policy gradient with a critic, several passes over each batch, and a clip that bounds each pass.

Paper: Schulman et al. 2017, eq. 7 and 9, with the details of Ziegler et al. 2019 and their code: the score on the
last token, KL to the reference inside the reward, whitened advantages, clipped values. Advantages are GAE with
γ=1 (Schulman et al. 2016): `A_t = Σ_l λ^l·δ_{t+l}`, `δ_t = r_t + V_{t+1} − V_t`.

Wrong when a critic cannot be afforded or learned (very sparse, very long episodes): a group baseline (RLOO, GRPO)
then does as well for less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gnomon.algorithms._actor_critic import ActorCritic
from gnomon.algorithms._policy_gradient import Discount
from gnomon.core.experience import Experience
from gnomon.losses.advantages import gae, whiten
from gnomon.losses.reduce import masked


@dataclass(frozen=True, kw_only=True)
class PPO(ActorCritic):
    """Proximal policy optimization.

    Attributes:
        gamma: discount per token; 1 because a completion's end is what counts.
        whiten_rewards: scale rewards to unit variance over the batch, keeping their mean.
        whiten_advantages: scale advantages to mean 0 and unit variance over the batch.
    """

    gamma: Discount = 1.0
    whiten_rewards: bool = False
    whiten_advantages: bool = True

    def compute_advantages(self, experience: Experience) -> Experience:
        """Advantages and returns from rewards and values; returns before whitening."""
        rewards, values = experience.rewards, experience.values
        assert rewards is not None
        assert values is not None
        mask = experience.tokens.mask.to(rewards.device)
        if self.whiten_rewards:
            rewards = whiten(rewards, mask, keep_mean=True)
        advantages = gae(rewards, values, mask, gamma=self.gamma, gae_lambda=self.gae_lambda)
        returns = masked(advantages + values, mask)
        if self.whiten_advantages:
            advantages = whiten(advantages, mask)
        return replace(experience, advantages=advantages, returns=returns)
