"""The models that a loop hands to a loss."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.models.policy import Critic, Model, Policy, RewardModel


@dataclass(frozen=True)
class TrainedModels:
    """The models a loss may ask; asking for one that the stage did not load is a mistake in the algorithm."""

    trained: Model
    critic_model: Critic | None = None
    temperature: float = 1.0

    @property
    def partly_trained(self) -> list[Model]:
        """Those whose trunks learn, if only above some layers."""
        critic = self.critic_model
        return [self.trained, *([critic] if critic and not critic.frozen_trunk else [])]

    @property
    def policy(self) -> Policy:
        """The language model being trained."""
        assert isinstance(self.trained, Policy)
        return self.trained

    @property
    def reward(self) -> RewardModel:
        """The reward model being trained."""
        assert isinstance(self.trained, RewardModel)
        return self.trained

    @property
    def critic(self) -> Critic:
        """The policy's value function."""
        assert self.critic_model is not None
        return self.critic_model
