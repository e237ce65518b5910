"""What the proofs share: a setting in which everything is exact, and training on samples of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from worlds import (
    TableCritic,
    TableModels,
    TablePolicy,
    World,
    exact_values,
    expected_gradient,
    experience_of,
    objective,
)

from gnomon.core.experience import RunningStats

BETA = 0.3
WIDE, SMALL = World(letters=3, longest=3), World(letters=2, longest=3)
PLAIN: dict[str, Any] = {"whiten_advantages": False, "value_weight": 0.0, "aggregate": "constant"}


class Setting:
    """A policy, its reference, rewards without a pattern, and what is exact about them."""

    def __init__(self, world: World):
        self.world = world
        self.policy, self.reference = TablePolicy(world, seed=1), TablePolicy(world, seed=2)
        self.rewards = world.rewards(seed=3)
        self.arbitrary = world.noise(4, len(world.states))
        self.exact = exact_values(self.policy, self.reference, self.rewards, BETA)

    def models(self, values: Tensor | None = None) -> TableModels:
        return TableModels(self.policy, TableCritic(self.world, self.arbitrary if values is None else values))

    def true_gradient(self, beta: float = BETA) -> Tensor:
        value = objective(self.policy, self.reference, self.rewards, beta)
        return torch.autograd.grad(value, self.policy.table)[0]

    def gradient(self, algorithm: Any, *, k: int = 1, values: Tensor | None = None, **more: Any) -> Tensor:
        beta = more.pop("beta", BETA)
        return expected_gradient(algorithm, self.models(values), self.reference, self.rewards, beta, k=k, **more)


def equal(actual: Tensor, expected: Tensor) -> None:
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=0)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def train(
    algorithm: Any,
    seed: int,
    *,
    beta: float,
    rounds: int = 120,
    k: int = 8,
    rate: float = 0.1,
    spread: float = 1.0,
) -> TablePolicy:
    """Rounds of 128 samples in groups of K, one pass; the step size falls to 0, as in the online loop.

    `spread` is the deviation of the reference's logits, from which the policy begins.
    """
    torch.manual_seed(seed)
    world = SMALL
    reference, rewards = TablePolicy(world, seed=2, scale=spread), world.rewards(seed=3)
    policy = TablePolicy(world, seed=2, scale=spread)
    critic = TableCritic(world, torch.zeros(len(world.states)).double())
    models, return_stats = TableModels(policy, critic), RunningStats()
    adam = torch.optim.Adam([policy.table, critic.table], lr=rate, eps=1e-5)
    size = len(world.completions)
    for done in range(rounds):
        adam.param_groups[0]["lr"] = rate * (1 - done / rounds)
        prompts = torch.arange(128 // k) % world.prompts
        drawn = torch.multinomial(policy.probabilities()[prompts], k, replacement=True) + prompts[:, None] * size
        group = [g for g in range(128 // k) for _ in range(k)]
        experience = experience_of(drawn.flatten().tolist(), models, reference, rewards, beta, group=group)
        with_advantages = algorithm.compute_advantages(replace(experience, return_stats=return_stats))
        assert experience.rewards is not None
        return_stats = return_stats.update(experience.rewards.sum(1))
        loss, _ = algorithm.loss(cast(Any, models), with_advantages)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return policy
