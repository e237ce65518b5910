"""Losses of an ensemble's members, each on its own bootstrap of the prompts.

The bootstrap is the online one (Oza and Russell 2001): a prompt counts Poisson(1) times for a member, drawn from
the seed, the member and the prompt's id alone, so it depends neither on the order of the data nor on which
other prompts there are. Whole prompts are drawn, not pairs: pairs of one prompt share completions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from gnomon.algorithms.contract import Models
from gnomon.core.batches import Judgements, Labels, Metrics, Preferences, Rankings, ScoredRows, TokenGroups
from gnomon.core.errors import ConfigError
from gnomon.models.reward_ensemble import RewardEnsemble
from gnomon.models.roles import RewardOutputs

KEPT = 1 - math.exp(-1.0)  # probability that a member has a prompt at all


def poisson_weight(seed: int, member: int, prompt: str) -> int:
    """Draw how often a member's bootstrap holds a prompt, from Poisson(1).

    Args:
        seed: of the run.
        member: number of the member.
        prompt: its id.
    """
    uniform = int.from_bytes(blake2b(f"{seed} {member} {prompt}".encode(), digest_size=7).digest(), "big") / 2**56
    count, term, total = 0, math.exp(-1.0), math.exp(-1.0)
    while uniform >= total and count < 20:
        count += 1
        term /= count
        total += term
    return count


def member_seed(seed: int, member: int) -> int:
    """Derive the seed of a member's initial weights and order of data from the run's seed.

    Args:
        seed: of the run.
        member: number of the member.
    """
    return int.from_bytes(blake2b(f"{seed} member {member}".encode(), digest_size=6).digest(), "big")


def bootstrap_weights(batch: Preferences | Labels | Rankings, seed: int, member: int) -> Tensor:
    """Weight of each pair, label or ranking of a batch for a member, `[M]`: that of its prompt.

    Args:
        batch: of stored data.
        seed: of the run.
        member: number of the member.

    Raises:
        ConfigError: the batch is of a kind without a weight for each term.
    """
    return _by_completion(batch.tokens, seed, member)[_completion_of_each_term(batch)]


def _by_completion(tokens: TokenGroups, seed: int, member: int) -> Tensor:
    """Weight of each completion's prompt, `[N]`."""
    assert tokens.names, "the batch does not name its prompts"
    return torch.tensor([float(poisson_weight(seed, member, name)) for name in tokens.names])[tokens.group]


def _completion_of_each_term(batch: Any) -> Tensor:
    """A completion that belongs to each term of the loss, as a row of the batch's tokens, `[M]`."""
    if isinstance(batch, Preferences):
        return batch.chosen
    if isinstance(batch, Labels):
        return torch.arange(len(batch.tokens))
    if isinstance(batch, Rankings):
        return torch.stack([order[0] for order in batch.order])
    raise ConfigError(f"ensembles draw no bootstrap of {type(batch).__name__}; set ensemble.bagging to false.")


@dataclass(frozen=True)
class _Scored:
    """A reward model whose scores are known."""

    model: RewardEnsemble
    row: Tensor

    def scores(self, tokens: Any) -> Tensor:
        """The scores, `[N]`."""
        return self.outputs(tokens).score

    def outputs(self, tokens: Any) -> RewardOutputs:
        """The scores, `[N]`, of the tokens for which they were computed, and no named ones."""
        assert len(tokens) == len(self.row)
        return RewardOutputs(self.row, {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


@dataclass(frozen=True)
class _View:
    """The models that a loss sees of one member."""

    models: Models
    reward: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.models, name)


class _Wrapped:
    """An algorithm around another one, with its contract."""

    def __init__(self, inner: Any):
        self.inner = inner
        self.consumes: type = inner.consumes
        self.also_consumes: tuple[type, ...] = getattr(inner, "also_consumes", ())
        self.trains: str = inner.trains
        self.loop_defaults: Mapping[str, Any] = inner.loop_defaults
        self.min_group_size: int = inner.min_group_size

    @property
    def needs(self) -> frozenset[str]:
        """Inputs from the loop."""
        return frozenset(self.inner.needs)


class MembersLoss(_Wrapped):
    """The mean of the losses of all heads, from one pass of their trunk.

    Args:
        inner: the algorithm, whose loss each member has.
        seed: of the bootstrap; `None` gives each member all prompts once.
    """

    def __init__(self, inner: Any, seed: int | None):
        super().__init__(inner)
        self.seed = seed

    def loss(self, models: Models, batch: Any) -> tuple[Tensor, Metrics]:
        """Mean loss, `[]`; metrics are means over members, and each member's own loss and accuracy.

        Without gradients, in validation, all prompts count once for each member.
        """
        ensemble = models.reward
        assert isinstance(ensemble, RewardEnsemble)
        scores = ensemble.member_scores(batch.tokens)  # [E, N]
        losses, rows = [], []
        for member, row in enumerate(scores):
            own = batch if self.seed is None else weighted(batch, self.seed, member)
            loss, metrics = self.inner.loss(_View(models, _Scored(ensemble, row)), own)
            losses.append(loss)
            rows.append(metrics)
        means = {name: torch.stack([torch.as_tensor(row[name]) for row in rows]).mean() for name in rows[0]}
        own_metrics = {
            f"member_{member}_{name}": row[name]
            for member, row in enumerate(rows)
            for name in ("loss", "accuracy")
            if name in row
        }
        return torch.stack(losses).mean(), {**means, **own_metrics}


class MemberLoss(_Wrapped):
    """The loss of one member that is trained alone, on the prompts of its bootstrap.

    Prompts that it does not have are left out of its data, so the others' weights are divided by their mean.

    Args:
        inner: the algorithm.
        seed: of the bootstrap.
        member: number of the member.
    """

    def __init__(self, inner: Any, seed: int, member: int):
        super().__init__(inner)
        self.seed, self.member = seed, member

    def loss(self, models: Models, batch: Any) -> tuple[Tensor, Metrics]:
        """The loss, `[]`, and the metrics of the algorithm."""
        loss, metrics = self.inner.loss(models, weighted(batch, self.seed, self.member, KEPT))
        return loss, metrics


def weighted(batch: Any, seed: int, member: int, scale: float = 1.0) -> Any:
    """A batch with the weights of a member's bootstrap; unchanged without gradients.

    Args:
        batch: of stored data.
        seed: of the bootstrap.
        member: number of the member.
        scale: factor of the weights.
    """
    if not torch.is_grad_enabled():
        return batch
    if isinstance(batch, Judgements):
        return replace(
            batch,
            pairs=None if batch.pairs is None else weighted(batch.pairs, seed, member, scale),
            rankings=None if batch.rankings is None else weighted(batch.rankings, seed, member, scale),
            scores=_weighted_scores(batch, seed, member, scale),
        )
    weights = scale * bootstrap_weights(batch, seed, member)
    return replace(batch, weight=batch.weight * weights.to(batch.weight))


def _weighted_scores(batch: Judgements, seed: int, member: int, scale: float) -> dict[str, ScoredRows]:
    by_row = scale * _by_completion(batch.tokens, seed, member)
    return {name: replace(one, weight=one.weight * by_row[one.rows]) for name, one in batch.scores.items()}
