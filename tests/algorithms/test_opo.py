"""OPO: its credit by hand, and that its baseline is the one of least variance where its assumption holds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from worlds import TableCritic, TableModels, TablePolicy, World, experience_of

from gnomon.algorithms.opo import OPO
from gnomon.core.batches import StepTotals, TokenGroups
from gnomon.core.experience import Experience


def compute_advantages(lengths: list[int], returns: list[float], masks: list[list[bool]] | None = None) -> Tensor:
    tokens = TokenGroups.build([[1]], [[2] * n for n in lengths], [0] * len(lengths), masks)
    rewards = torch.zeros(tokens.mask.shape)
    rewards[:, 0] = torch.tensor(returns)
    zeros = torch.zeros_like(rewards)
    drawn = Experience(
        tokens=tokens,
        old_logprobs=zeros,
        scores=torch.tensor(returns),
        finished=torch.ones(len(lengths), dtype=torch.bool),
        totals=StepTotals(len(lengths), float(sum(lengths))),
        rewards=rewards,
    )
    advantages = OPO().compute_advantages(drawn).advantages
    assert advantages is not None
    return advantages


def test_the_baseline_weighs_by_length() -> None:
    """Returns 1, 0, 2 of lengths 1, 2, 3: b = (1 + 0 + 6)/6."""
    advantages = compute_advantages([1, 2, 3], [1.0, 0.0, 2.0])
    expected = torch.tensor([[-1 / 6, 0, 0], [-7 / 6, -7 / 6, 0], [5 / 6, 5 / 6, 5 / 6]])
    torch.testing.assert_close(advantages, expected)


def test_only_tokens_that_the_policy_chose_are_counted() -> None:
    """Two of four tokens came from a tool: lengths 1 and 2, b = (3 + 0)/3."""
    advantages = compute_advantages([1, 4], [3.0, 0.0], [[True], [True, False, False, True]])
    torch.testing.assert_close(advantages, torch.tensor([[2.0, 0, 0, 0], [-1.0, 0, 0, -1.0]]))


def test_alike_returns_teach_exactly_nothing() -> None:
    assert bool((compute_advantages([1, 2, 7], [0.1, 0.1, 0.1]) == 0).all())


def test_its_baseline_has_the_least_variance_where_tokens_weigh_alike() -> None:
    """A uniform policy: each token's gradient has the same norm and a row of its own.

    The exact `E[‖∇log π‖²R]/E[‖∇log π‖²]`, by automatic differentiation of every completion, is the mean that
    OPO takes of a group that holds each completion as often as it is drawn; the plain mean is elsewhere.
    """
    world = World(letters=2, longest=3, prompts=1)
    policy = TablePolicy(world, seed=0, scale=0.0)
    rewards = world.rewards(seed=3)
    norms = []
    for logprob in policy.all_logprobs():
        (gradient,) = torch.autograd.grad(logprob, policy.table, retain_graph=True)
        norms.append(gradient.square().sum())
    chance, weight = policy.probabilities()[0], torch.stack(norms)
    best = float((chance * weight * rewards).sum() / (chance * weight).sum())
    often = (chance * 3**world.longest).round().long().tolist()  # 9, 3 or 1 times of 27
    assert sum(often) == 27
    rows = [row for row, times in enumerate(often) for _ in range(times)]
    models = TableModels(policy, TableCritic(world, torch.zeros(len(world.states), dtype=torch.float64)))
    drawn = experience_of(rows, models, policy, rewards, 0.0, group=[0] * len(rows))
    advantages = OPO().compute_advantages(drawn).advantages
    assert advantages is not None
    baseline = rewards[rows] - advantages[:, 0]
    assert baseline.tolist() == pytest.approx([best] * len(rows), abs=1e-9)
    assert abs(float((chance * rewards).sum()) - best) > 0.01
