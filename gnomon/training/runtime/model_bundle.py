"""The models that a loop hands to a loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from gnomon.models.engine.activation_cache import FrozenStates
from gnomon.models.roles import Critic, Model, Policy, RewardModel


@dataclass(frozen=True)
class TrainedModels:
    """The models a loss may ask; asking for one that the stage did not load is a mistake in the algorithm."""

    trained: Model
    critic_model: Critic | None = None
    temperature: float = 1.0

    @contextmanager
    def rounded(self) -> Iterator[None]:
        """Inside, matrices that do not learn are held in the precision that they are multiplied in."""
        with self.trained.rounded(), self.critic_model.rounded() if self.critic_model else nullcontext():
            yield

    @contextmanager
    def keeping_frozen_states(self, gigabytes: float) -> Iterator[list[FrozenStates]]:
        """Inside, each model that will ask its frozen layers the same again remembers what they say, if it can.

        A critic whose trunk does not learn hands its states on by itself; it remembers what a judge asked.
        """
        critic = self.critic_model
        with ExitStack() as kept:
            asks_again = critic and (critic.shares_trunk or not critic.frozen_trunk)
            models = [self.trained, *([critic] if critic and asks_again else [])]
            found = [kept.enter_context(model.keeping_frozen_states(gigabytes)) for model in models]
            yield [states for states in found if states]

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
