"""Base class of algorithms with a critic: a clipped value loss beside the policy loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from gnomon.algorithms._policy_gradient import PolicyGradient
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Metrics
from gnomon.core.experience import Experience
from gnomon.core.ranges import Range, Weight
from gnomon.losses.policy_gradient import clipped_value_loss
from gnomon.losses.reduce import token_mean

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ActorCritic(PolicyGradient):
    """A policy and its critic.

    Attributes:
        value_clip: maximum change of a value within a batch.
        value_weight: weight of the value loss beside the policy loss.
        gae_lambda: 1 trusts the observed return, 0 the critic.
    """

    value_clip: Annotated[float, Range("it is how far a value may move", gt=0, le=1e6)] = 0.2
    value_weight: Weight = 0.1
    gae_lambda: Annotated[float, Range("it mixes the observed return, 1, with the critic, 0", ge=0, le=1)] = 0.95

    @property
    def needs(self) -> frozenset[str]:
        """A critic."""
        return frozenset({"critic"})

    def loss(self, models: Models, batch: Experience) -> tuple[Tensor, Metrics]:
        """Clipped policy loss plus weighted value loss, each a mean over the step's tokens, `[]`."""
        assert batch.values is not None
        assert batch.returns is not None
        loss, metrics = super().loss(models, batch)
        values = models.critic.predict(batch.tokens, batch.critic_states).values
        value = clipped_value_loss(values, batch.values, batch.returns, clip=self.value_clip)
        value_loss = token_mean(value, batch.tokens.mask.to(value.device), batch.totals.tokens)
        loss = loss + self.value_weight * value_loss
        return loss, {**metrics, "loss": loss.detach(), "value_loss": value_loss.detach()}
