"""A batch of every kind that an algorithm may consume, off policy and ragged, and ways to cut and shuffle it.

An algorithm that consumes a new kind of record adds its batch to `batch_for` and its cut to `select`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from tiny import ragged_groups, tiny_critic, tiny_policy, tiny_reward_model
from torch import Tensor

from gnomon.core.batches import Demonstrations, Experience, Penalty, Preferences, TokenGroups, Totals
from gnomon.core.types import Demonstration, Preference
from gnomon.models.adapters import Trainable
from gnomon.rollouts.experience import price_kl
from gnomon.training.models import TrainedModels

PAIRS = [(0, 1), (2, 0), (3, 4), (1, 2)]  # rows of the completions of the first two prompts


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def models_for(algorithm: Any) -> TrainedModels:
    """What its loop would load, with an adapter that already has learned something."""
    make = {"policy": tiny_policy, "reward": tiny_reward_model}[algorithm.trains]
    model = make(trainable=Trainable(rank=4))
    with torch.no_grad():
        for i, parameter in enumerate(model.trainable().values()):
            parameter.add_(0.1 * noise(*parameter.shape, seed=i))
    return TrainedModels(model, tiny_critic(seed=1) if "critic" in algorithm.needs else None, temperature=0.8)


def batch_for(algorithm: Any, models: TrainedModels, *, on_policy: bool = False) -> Any:
    """A batch with several groups, masked tokens and weights that are not 1."""
    groups = ragged_groups(masked=True)
    if algorithm.consumes is Preference:
        groups = groups.select([0, 2, 5, 1, 4])
    n, width = groups.mask.shape
    totals = Totals(n, float(groups.mask.sum()))
    if algorithm.consumes is Demonstration:
        return Demonstrations(groups, torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0]), totals)
    if algorithm.consumes is Preference:
        return Preferences(
            tokens=groups,
            chosen=torch.tensor([c for c, _ in PAIRS]),
            rejected=torch.tensor([r for _, r in PAIRS]),
            probability=torch.tensor([1.0, 0.8, 0.5, 0.7]),
            margin=torch.tensor([0.0, 1.0, 0.5, 2.0]),
            weight=torch.tensor([1.0, 2.0, 1.0, 0.5]),
            totals=replace(totals, rows=len(PAIRS)),
            reference_logprobs=-1.0 - noise(n, width, seed=3).abs(),
        )
    assert algorithm.consumes is Experience, f"no batch of {algorithm.consumes} here yet; add one"
    with torch.no_grad():
        now = models.policy.logprobs(groups, temperature=models.temperature)
    elsewhere = noise(n, width, seed=8)
    drawn = Experience(
        tokens=groups,
        logprobs=now if on_policy else now + 0.3 * noise(n, width, seed=4),
        scores=noise(n, seed=5),
        finished=torch.tensor([True, True, False, True, True, False]),
        totals=totals,
        reference_logprobs=now + 0.2 * noise(n, width, seed=6),
        values=noise(n, width, seed=7),
        token_rewards=elsewhere,
    )
    kl = {"where": "reward", "estimator": "k1", "exact": True, **algorithm.training.get("kl", {})}
    priced = price_kl(drawn, 0.1, where=kl["where"], estimator=kl["estimator"])
    if kl["where"] == "loss":
        priced = replace(priced, penalty=Penalty(0.1, kl["estimator"], kl["exact"]))
    found: Experience = algorithm.credit(priced)
    return found


def rows_in(batch: Any) -> int:
    """How many rows a loss counts: pairs, or completions."""
    return len(batch.chosen) if isinstance(batch, Preferences) else len(batch.tokens)


def select(batch: Any, rows: Sequence[int]) -> Any:
    """The rows (pairs, where there are pairs) of a batch, with the totals of the whole."""
    if isinstance(batch, Experience):
        return batch.select(rows, batch.totals)
    index = torch.tensor(list(rows))
    if isinstance(batch, Demonstrations):
        return replace(batch, tokens=batch.tokens.select(rows), weight=batch.weight[index])
    used = list(dict.fromkeys([*batch.rejected[index].tolist(), *batch.chosen[index].tolist()]))
    tokens: TokenGroups = batch.tokens.select(used)
    place = {old: new for new, old in enumerate(used)}
    return replace(
        batch,
        tokens=tokens,
        chosen=torch.tensor([place[r] for r in batch.chosen[index].tolist()]),
        rejected=torch.tensor([place[r] for r in batch.rejected[index].tolist()]),
        probability=batch.probability[index],
        margin=batch.margin[index],
        weight=batch.weight[index],
        reference_logprobs=batch.reference_logprobs[used][:, : tokens.mask.shape[1]],
    )
