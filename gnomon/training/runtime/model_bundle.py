"""The models that a loop passes to an algorithm's loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from gnomon.models.engine.activation_cache import FrozenLayerCache
from gnomon.models.roles import Critic, Model, Policy, RewardModel


@dataclass(frozen=True)
class TrainedModels:
    """The models available to a loss; access to one that the stage did not load is a bug in the algorithm."""

    trained: Model
    critic_model: Critic | None = None
    temperature: float = 1.0

    @contextmanager
    def rounded(self) -> Iterator[None]:
        """Context manager: frozen matrices are stored in the compute precision."""
        with self.trained.rounded(), self.critic_model.rounded() if self.critic_model else nullcontext():
            yield

    @contextmanager
    def activation_cache(self, gigabytes: float) -> Iterator[list[FrozenLayerCache]]:
        """Context manager: models that will read the same tokens again cache the activations of frozen layers.

        A critic with a frozen trunk passes on its states by itself and needs a cache only if it shares the trunk.
        """
        critic = self.critic_model
        with ExitStack() as stack:
            reads_again = critic and (critic.shares_trunk or not critic.frozen_trunk)
            models = [self.trained, *([critic] if critic and reads_again else [])]
            caches = [stack.enter_context(model.activation_cache(gigabytes)) for model in models]
            yield [states for states in caches if states]

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
