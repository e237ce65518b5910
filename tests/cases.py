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

from gnomon.algorithms.contract import needs_step_statistics
from gnomon.core.batches import Demonstrations, Labels, Preferences, Rankings, StepTotals, TokenGroups
from gnomon.core.experience import Experience, KLPenalty
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.models.settings import Trainable
from gnomon.rollouts.experience import apply_kl_penalty
from gnomon.training.online.policy_update import rows_with_signal, step_totals
from gnomon.training.runtime.model_bundle import TrainedModels

PAIRS = [(0, 1), (2, 0), (3, 4), (1, 2)]  # rows of the completions of the first two prompts
ORDERS = [(2, 0, 1), (3, 4), (0, 1)]  # likewise, best first


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
    if algorithm.consumes in (Preference, Ranking):
        groups = groups.select([0, 2, 5, 1, 4])
    n, width = groups.mask.shape
    totals = StepTotals(n, float(groups.mask.sum()))
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
    if algorithm.consumes is Label:
        labels = Labels(
            tokens=groups,
            good=torch.tensor([True, False, True, True, False, False]),
            weight=torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0]),
            totals=totals,
            reference_logprobs=-3.0 - noise(n, width, seed=3).abs(),
        )
        if not needs_step_statistics(algorithm):
            return labels
        strangers = replace(labels, tokens=mismatched(groups))
        sums = {
            name: float(value) for name, value in algorithm.step_statistics(models, labels, strangers).items()
        }
        return replace(labels, totals=replace(totals, sums=sums))
    if algorithm.consumes is Ranking:
        return Rankings(
            tokens=groups,
            order=tuple(torch.tensor(order) for order in ORDERS),
            weight=torch.tensor([1.0, 2.0, 0.5]),
            totals=replace(totals, rows=len(ORDERS)),
            reference_logprobs=-1.0 - noise(n, width, seed=3).abs(),
        )
    assert algorithm.consumes is Experience, f"no batch of {algorithm.consumes} here yet; add one"
    with torch.no_grad():
        now = models.policy.logprobs(groups, temperature=models.temperature)
    elsewhere = noise(n, width, seed=8)
    drawn = Experience(
        tokens=groups,
        old_logprobs=now if on_policy else now + 0.3 * noise(n, width, seed=4),
        scores=noise(n, seed=5),
        finished=torch.tensor([True, True, False, True, True, False]),
        totals=totals,
        reference_logprobs=now + 0.2 * noise(n, width, seed=6),
        values=noise(n, width, seed=7),
        token_rewards=elsewhere,
        sampler_logprobs=now + 0.4 * noise(n, width, seed=9),
    )
    kl = {
        "placement": "reward",
        "estimator": "k1",
        "unbiased_gradient": True,
        **algorithm.loop_defaults.get("kl", {}),
    }
    priced = apply_kl_penalty(drawn, 0.1, placement=kl["placement"], estimator=kl["estimator"])
    if kl["placement"] == "loss":
        priced = replace(priced, penalty=KLPenalty(0.1, kl["estimator"], kl["unbiased_gradient"]))
    experience: Experience = algorithm.compute_advantages(priced)
    every = range(n)
    return replace(experience, totals=step_totals(experience, every, every, rows_with_signal(experience, every)))


def mismatched(groups: TokenGroups) -> TokenGroups:
    """The same completions, each after the next prompt."""
    return replace(groups, group=(groups.group + 1) % len(groups.prompts))


def rows_in(batch: Any) -> int:
    """How many rows a loss counts: pairs, rankings, or completions."""
    if isinstance(batch, Rankings):
        return len(batch.order)
    return len(batch.chosen) if isinstance(batch, Preferences) else len(batch.tokens)


def select(batch: Any, rows: Sequence[int]) -> Any:
    """The rows (pairs or rankings, where there are any) of a batch, with the totals of the whole."""
    if isinstance(batch, Experience):
        return batch.select(rows, batch.totals)
    index = torch.tensor(list(rows))
    if isinstance(batch, Demonstrations):
        return replace(batch, tokens=batch.tokens.select(rows), weight=batch.weight[index])
    if isinstance(batch, Labels):
        tokens = batch.tokens.select(rows)
        return replace(
            batch,
            tokens=tokens,
            good=batch.good[index],
            weight=batch.weight[index],
            reference_logprobs=_cut(batch.reference_logprobs, rows, tokens),
        )
    named = (
        [batch.order[r] for r in rows]
        if isinstance(batch, Rankings)
        else [batch.rejected[index], batch.chosen[index]]
    )
    used = list(dict.fromkeys(r for part in named for r in part.tolist()))
    tokens = batch.tokens.select(used)
    moved = [torch.tensor([used.index(r) for r in part.tolist()]) for part in named]
    common = {"tokens": tokens, "weight": batch.weight[index]}
    common["reference_logprobs"] = _cut(batch.reference_logprobs, used, tokens)
    if isinstance(batch, Rankings):
        return replace(batch, order=tuple(moved), **common)
    return replace(
        batch,
        chosen=moved[1],
        rejected=moved[0],
        probability=batch.probability[index],
        margin=batch.margin[index],
        **common,
    )


def _cut(values: Tensor | None, rows: Sequence[int], tokens: TokenGroups) -> Tensor:
    assert values is not None
    return values[list(rows)][:, : tokens.mask.shape[1]]
