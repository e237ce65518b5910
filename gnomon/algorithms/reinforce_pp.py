"""REINFORCE++: reward-to-go with the KL inside the reward, normalized over the whole batch, and PPO's clip.

Paper: Hu et al. 2025, "REINFORCE++", eq. 4 and 5: `A_t = (G_t − mean)/std` over all tokens of the batch, no
critic and no groups. The baseline is one number for all prompts.

Wrong when prompts differ much in how well they can be answered: what is left of a prompt's own level is noise; a
group baseline (RLOO) or a critic (PPO) takes it out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gnomon.algorithms._policy_gradient import Discount, PolicyGradient
from gnomon.core.experience import Experience
from gnomon.losses.advantages import returns_to_go, whiten


@dataclass(frozen=True, kw_only=True)
class ReinforcePP(PolicyGradient):
    """Global-batch normalization.

    Attributes:
        gamma: discount per token.
    """

    gamma: Discount = 1.0

    def compute_advantages(self, experience: Experience) -> Experience:
        """Returns-to-go scaled to mean 0 and variance 1 over the batch's tokens."""
        assert experience.rewards is not None
        mask = experience.tokens.mask.to(experience.rewards.device)
        returns = returns_to_go(experience.rewards, mask, gamma=self.gamma)
        return replace(experience, advantages=whiten(returns, mask), returns=returns)
