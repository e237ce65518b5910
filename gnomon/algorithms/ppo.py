"""PPO: policy gradient with a critic, several passes over each batch, and a clip that bounds each pass.

Paper: Schulman et al. 2017, eq. 7 and 9, with the language-model details of Ziegler et al. 2019: the score on the
last token, KL to the reference inside the reward, whitened advantages, clipped values. Advantages are GAE with
γ=1 (Schulman et al. 2016): `A_t = Σ_l λ^l·δ_{t+l}`, `δ_t = r_t + V_{t+1} − V_t`.

Wrong when a critic cannot be afforded or learned (very sparse, very long episodes): a group baseline (RLOO, GRPO)
then does as well for less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from gnomon.algorithms.contract import Models
from gnomon.core.batches import Experience, Metrics
from gnomon.losses.advantages import generalised_advantages, whiten
from gnomon.losses.kl import log_ratio
from gnomon.losses.policy_gradient import clipped_policy_loss, clipped_share, clipped_value_loss
from gnomon.losses.reduce import masked, token_mean


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Proximal policy optimisation.

    Attributes:
        clip_low: the ratio may fall to 1 − clip_low before its gradient stops.
        clip_high: and rise to 1 + clip_high.
        value_clip: how far a value may move in one batch.
        value_weight: weight of the value loss beside the policy loss.
        gamma: discount per token; 1 because a completion's end is what counts.
        gae_lambda: 1 trusts the observed return, 0 the critic.
        whiten_rewards: scale rewards to unit variance over the batch, keeping their mean.
        whiten_advantages: scale advantages to mean 0 and unit variance over the batch.
    """

    consumes: ClassVar[type] = Experience
    trains: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset({"reference", "critic"})
    clip_low: float = 0.2
    clip_high: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 0.95
    whiten_rewards: bool = False
    whiten_advantages: bool = True

    def credit(self, experience: Experience) -> Experience:
        """Advantages and returns from rewards and values; returns before whitening."""
        rewards, values = experience.rewards, experience.values
        assert rewards is not None
        assert values is not None
        mask = experience.tokens.mask.to(rewards.device)
        if self.whiten_rewards:
            rewards = whiten(rewards, mask, keep_mean=True)
        advantages = generalised_advantages(rewards, values, mask, gamma=self.gamma, gae_lambda=self.gae_lambda)
        returns = masked(advantages + values, mask)
        if self.whiten_advantages:
            advantages = whiten(advantages, mask)
        return replace(experience, advantages=advantages, returns=returns)

    def loss(self, models: Models, batch: Experience) -> tuple[Tensor, Metrics]:
        """Clipped policy loss plus weighted value loss, each a mean over the step's tokens."""
        assert batch.advantages is not None
        assert batch.returns is not None
        assert batch.values is not None
        tokens, total = batch.tokens, batch.totals.tokens
        logprobs, entropy = models.policy.logprobs_and_entropy(tokens, temperature=models.temperature)
        assert entropy is not None
        values = models.critic.answer(tokens, batch.critic_states).values
        mask = tokens.mask.to(logprobs.device)
        clip = {"clip_low": self.clip_low, "clip_high": self.clip_high}
        policy = clipped_policy_loss(logprobs, batch.logprobs, batch.advantages, **clip)
        value = clipped_value_loss(values, batch.values, batch.returns, clip=self.value_clip)
        policy_loss, value_loss = token_mean(policy, mask, total), token_mean(value, mask, total)
        loss = policy_loss + self.value_weight * value_loss
        moved = log_ratio(logprobs.detach(), batch.logprobs)
        return loss, {
            "loss": loss.detach(),
            "policy_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": token_mean(entropy, mask, total),
            "clip_fraction": token_mean(
                clipped_share(logprobs.detach(), batch.logprobs, batch.advantages, **clip), mask, total
            ),
            "approx_kl": token_mean(moved.exp() - 1 - moved, mask, total),
        }
