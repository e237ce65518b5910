"""The proof: where every completion can be enumerated, gradient and optimum are known exactly.

Objective: J(π) = E_π[r] − β·KL(π‖π_ref). Its gradient comes from automatic differentiation of the sum over all
40 completions; its maximum is π*(y) ∝ π_ref(y)·exp(r(y)/β).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from worlds import (
    COMPLETIONS,
    EVERY,
    STATES,
    TableCritic,
    TableModels,
    TablePolicy,
    exact_values,
    experience_of,
    objective,
    optimum,
    rewards_of,
)

from gnomon.algorithms.ppo import PPO
from gnomon.core.batches import Experience, Totals
from gnomon.losses.kl import k3
from gnomon.losses.reduce import masked
from gnomon.rollouts.experience import last_token

BETA = 0.3
POLICY, REFERENCE, REWARDS = TablePolicy(seed=1), TablePolicy(seed=2), rewards_of(seed=3)
ARBITRARY = torch.randn(len(STATES), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
EXACT = exact_values(POLICY, REFERENCE, REWARDS, BETA)
ALL = list(range(len(COMPLETIONS)))


def models_with(values: Tensor) -> TableModels:
    return TableModels(POLICY, TableCritic(values))


def expected_gradient(algorithm: PPO, models: TableModels, experience: Experience) -> Tensor:
    """−Σ_y π(y)·∇loss(y): the ascent direction that samples give on average, y alone being the step's batch.

    A completion's loss is a mean over the step's tokens; with totals of one token it is their sum.
    """
    credited = algorithm.credit(experience)
    total = torch.zeros((), dtype=torch.float64)
    weights = models.policy.all_logprobs().detach().exp()
    for row in ALL:
        loss, _ = algorithm.loss(cast(Any, models), credited.select([row], Totals(1, 1)))
        total = total - weights[row] * loss
    return torch.autograd.grad(total, models.policy.table)[0]


def exact_gradient() -> Tensor:
    return torch.autograd.grad(objective(POLICY, REFERENCE, REWARDS, BETA), POLICY.table)[0]


def test_the_world_is_whole() -> None:
    assert len(COMPLETIONS) == len(set(COMPLETIONS)) == 40
    assert POLICY.all_logprobs().exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    value = objective(POLICY, REFERENCE, REWARDS, BETA).item()
    assert EXACT[STATES[()]].item() == pytest.approx(value, abs=1e-12)
    best = optimum(REFERENCE, REWARDS, BETA)
    assert best.sum().item() == pytest.approx(1.0, abs=1e-12)
    reward_of_best = (best * (REWARDS - BETA * (best.log() - REFERENCE.all_logprobs()))).sum().item()
    log_z = torch.logsumexp(REFERENCE.all_logprobs() + REWARDS / BETA, 0)
    assert reward_of_best == pytest.approx(BETA * log_z.item(), abs=1e-9)


@pytest.mark.parametrize(
    ("values", "gae_lambda"),
    [
        (torch.zeros(len(STATES), dtype=torch.float64), 1.0),
        (ARBITRARY, 1.0),  # any baseline will do when the observed return is trusted
        (EXACT, 1.0),
        (EXACT, 0.95),  # a perfect critic may be trusted in any measure
        (EXACT, 0.0),
    ],
)
def test_ppos_expected_gradient_is_exact(values: Tensor, gae_lambda: float) -> None:
    """At ratio 1, k1 inside the reward, γ = 1."""
    algorithm = PPO(gae_lambda=gae_lambda, whiten_advantages=False, value_weight=0.0)
    models = models_with(values)
    experience = experience_of(ALL, models, REFERENCE, REWARDS, BETA)
    found = expected_gradient(algorithm, models, experience)
    assert exact_gradient().abs().max() > 0.01
    torch.testing.assert_close(found, exact_gradient(), atol=1e-6, rtol=0)


def test_an_imperfect_critic_biases_it_when_trusted() -> None:
    """So that the tests above are known to be able to fail, and what λ < 1 costs is on record."""
    models = models_with(ARBITRARY)
    experience = experience_of(ALL, models, REFERENCE, REWARDS, BETA)
    found = expected_gradient(PPO(whiten_advantages=False, value_weight=0.0), models, experience)
    assert (found - exact_gradient()).abs().max() > 1e-3


def test_k3_inside_the_reward_would_not_be_exact() -> None:
    """The reward's penalty must be k1: with k3, equal in value on average, the direction is another."""
    models = models_with(ARBITRARY)
    experience = experience_of(ALL, models, REFERENCE, REWARDS, BETA)
    assert experience.reference_logprobs is not None
    mask = EVERY.mask
    price = masked(k3(experience.logprobs, experience.reference_logprobs), mask)
    other = replace(experience, rewards=last_token(experience.scores, mask) - BETA * price)
    found = expected_gradient(PPO(gae_lambda=1.0, whiten_advantages=False, value_weight=0.0), models, other)
    assert (found - exact_gradient()).abs().max() > 1e-2


def test_the_optimum_is_a_fixed_point() -> None:
    """A policy that is π* earns the same r − β·log(π/π_ref) whatever it says, so nothing pulls at it."""
    best = optimum(REFERENCE, REWARDS, BETA)
    logits = torch.full((len(STATES), 4), -torch.inf, dtype=torch.float64)
    for state, place in STATES.items():
        for token in range(4):
            longer = (*state, token)
            below = [r for r in ALL if COMPLETIONS[r][: len(longer)] == longer]
            logits[place, token] = best[below].sum().log()
    policy = TablePolicy(seed=0)
    policy.table.data.copy_(logits)
    torch.testing.assert_close(policy.all_logprobs().exp().detach(), best, atol=1e-12, rtol=0)
    models = TableModels(policy, TableCritic(ARBITRARY))
    experience = experience_of(ALL, models, REFERENCE, REWARDS, BETA)
    algorithm = PPO(gae_lambda=1.0, whiten_advantages=False, value_weight=0.0)
    assert expected_gradient(algorithm, models, experience).abs().max() < 1e-6


def total_variation(policy: TablePolicy, best: Tensor) -> float:
    return 0.5 * float((policy.all_logprobs().detach().exp() - best).abs().sum())


@pytest.mark.parametrize("whiten", [True, False])
def test_training_on_samples_reaches_the_optimum(whiten: bool) -> None:
    """PPO as shipped, with its learned critic, from a total variation of 0.57 at π_ref to below 0.01.

    150 rounds of 128 samples in two passes; the step size falls to 0, as in the online loop.
    """
    torch.manual_seed(0)
    beta, rounds = 0.5, 150
    best = optimum(REFERENCE, REWARDS, beta)
    policy, critic = TablePolicy(seed=2), TableCritic(torch.zeros(len(STATES), dtype=torch.float64))
    models, algorithm = TableModels(policy, critic), PPO(whiten_advantages=whiten, value_weight=1.0)
    adam = torch.optim.Adam([policy.table, critic.table], lr=0.1, eps=1e-5)
    start = total_variation(policy, best)
    for done in range(rounds):
        adam.param_groups[0]["lr"] = 0.1 * (1 - done / rounds)
        rows = torch.multinomial(policy.all_logprobs().detach().exp(), 128, replacement=True).tolist()
        credited = algorithm.credit(experience_of(rows, models, REFERENCE, REWARDS, beta))
        for _ in range(2):
            loss, _ = algorithm.loss(cast(Any, models), credited)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    found = total_variation(policy, best)
    assert start > 0.5
    assert found < 0.01
