"""The KL in the loss: which estimator, written how, has which gradient; all of it by enumeration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exact_world import BETA, SMALL, Setting, cosine, equal
from torch import Tensor
from worlds import Pricing, TableCritic, TableModels, TablePolicy, World, as_policy, expected_gradient, optimum

from gnomon.algorithms.dr_grpo import DrGRPO
from gnomon.algorithms.grpo import GRPO
from gnomon.algorithms.gspo import GSPO
from gnomon.algorithms.rloo import RLOO


@pytest.fixture(scope="module")
def small() -> Setting:
    return Setting(SMALL)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_a_weighted_penalty_in_the_loss_has_the_gradient_of_its_expectation(
    small: Setting, estimator: str
) -> None:
    """k1 and k3 have the KL itself as expectation; k2 has its own."""
    gradient = small.gradient(RLOO(), k=2, pricing=Pricing("loss", estimator, unbiased_gradient=True))
    if estimator == "k2":
        logprobs = small.policy.logprobs(SMALL.every)
        squares = (logprobs - small.reference.logprobs(SMALL.every).detach()).square() / 2
        cost = (small.policy.all_logprobs().exp() * (squares * SMALL.every.mask).sum(1)).sum() / SMALL.prompts
        price = torch.autograd.grad(cost, small.policy.table)[0]
        equal(gradient, small.true_gradient(0.0) - BETA * price)
    else:
        equal(gradient, small.true_gradient())


def test_the_whole_vocabulary_has_the_gradient_of_the_kl_itself(small: Setting) -> None:
    """`∇E[Σ_t KL_t] = E[Σ_t ∇KL_t + KL_t·∇log π(y_<t)]`, against autograd of the exact KL."""
    gradient = small.gradient(RLOO(), k=2, pricing=Pricing("loss", "full", unbiased_gradient=True))
    equal(gradient, small.true_gradient())
    logprobs = small.policy.all_logprobs()
    kl = (logprobs.exp() * (logprobs - small.reference.all_logprobs().detach())).sum() / SMALL.prompts
    price = torch.autograd.grad(kl, small.policy.table)[0]
    equal(gradient - small.gradient(RLOO(), k=2, beta=0.0), -BETA * price)


def test_without_the_weight_it_restrains_each_state_but_not_how_often_it_is_reached(small: Setting) -> None:
    """Right for single tokens; for longer texts only the expected `∇KL_t` remains."""
    pricing = Pricing("loss", "full", unbiased_gradient=False)
    bandit = Setting(World(letters=3, longest=1))
    equal(bandit.gradient(RLOO(), k=2, pricing=pricing), bandit.true_gradient())
    gradient = small.gradient(RLOO(), k=2, pricing=pricing)
    assert (gradient - small.true_gradient()).abs().max() > 1e-3
    states = torch.zeros((), dtype=torch.float64)
    chance = small.policy.probabilities().flatten() / SMALL.prompts
    reference = SMALL.look_up(small.reference.table.detach(), SMALL.every)
    kl = small.policy.logprobs_entropy_and_kl(SMALL.every, reference)[2]
    states = (chance[:, None] * kl * SMALL.every.mask).sum()
    price = torch.autograd.grad(states, small.policy.table)[0]
    equal(gradient, small.true_gradient(0.0) - BETA * price)


def test_k1_in_the_loss_as_commonly_written_restrains_nothing(small: Setting) -> None:
    gradient = small.gradient(RLOO(), k=2, pricing=Pricing("loss", "k1", unbiased_gradient=False))
    equal(gradient, small.true_gradient(0.0))


def test_k2_in_the_loss_as_commonly_written_is_right_for_single_tokens() -> None:
    """∇k2 = (log π − log π_ref)·∇log π is the KL's gradient of one token; earlier ones get no credit."""
    bandit, longer = Setting(World(letters=3, longest=1)), Setting(SMALL)
    pricing = Pricing("loss", "k2", unbiased_gradient=False)
    equal(bandit.gradient(RLOO(), k=2, pricing=pricing), bandit.true_gradient())
    assert (longer.gradient(RLOO(), k=2, pricing=pricing) - longer.true_gradient()).abs().max() > 1e-3


def test_k3_in_the_loss_as_commonly_written_has_another_optimum() -> None:
    """Where E[r] − β·k3 is stationary with a fixed sampler: π = β·π_ref/(λ − r), λ such that it adds up to 1.

    The weighted penalty has π* ∝ π_ref·exp(r/β) instead.
    """
    world, beta = World(letters=3, longest=1, prompts=1), 0.8
    reference, rewards = TablePolicy(world, seed=2), world.rewards(seed=3)
    base = reference.probabilities()[0]
    low, high = float(rewards.max()) + 1e-9, float(rewards.max()) + 50.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (beta * base / (middle - rewards)).sum() > 1 else (low, middle)
    other = (beta * base / (low - rewards))[None]
    best = optimum(reference, rewards, beta)
    assert 0.5 * (other - best).abs().sum() > 0.02
    for exact, expected in ((False, other), (True, best)):
        policy = as_policy(world, expected)
        models = TableModels(policy, TableCritic(world, torch.zeros(1, dtype=torch.float64)))
        pricing = Pricing("loss", "k3", exact)
        gradient = expected_gradient(RLOO(), models, reference, rewards, beta, k=2, pricing=pricing)
        assert gradient.abs().max() < 1e-6
        wrong = Pricing("loss", "k3", not exact)
        assert expected_gradient(RLOO(), models, reference, rewards, beta, k=2, pricing=wrong).abs().max() > 1e-3


def test_k3_in_the_reward_does_not_restrain_as_it_should(small: Setting) -> None:
    gradient = small.gradient(RLOO(), k=2, pricing=Pricing("reward", "k3"))
    assert (gradient - small.true_gradient()).abs().max() > 1e-2


@pytest.mark.parametrize("estimator", ["k1", "k3", "full"])
@pytest.mark.parametrize(
    "algorithm",
    [GRPO(), GSPO(), GRPO(aggregate="token"), GRPO(aggregate="constant")],
    ids=["grpo", "gspo", "token", "constant"],
)
def test_however_the_surrogate_weighs_tokens_the_exact_penalty_is_the_kl(
    small: Setting, algorithm: Any, estimator: str
) -> None:
    """GRPO's own default among them: the penalty adds −β·∇KL to what the surrogate gives without it."""
    with_price = small.gradient(algorithm, k=2, pricing=Pricing("loss", estimator))
    without = small.gradient(algorithm, k=2, beta=0.0)
    equal(with_price - without, small.true_gradient(BETA) - small.true_gradient(0.0))


def test_as_commonly_written_a_mean_within_completions_turns_the_penalty(small: Setting) -> None:
    """k1 would at least do nothing; k3 has neither the KL's gradient nor its own over the sum of tokens."""
    price = Pricing("loss", "k3", unbiased_gradient=False)

    def priced(algorithm: Any) -> Tensor:
        return small.gradient(algorithm, k=2, pricing=price) - small.gradient(algorithm, k=2, beta=0.0)

    kl_gradient = small.true_gradient(BETA) - small.true_gradient(0.0)
    by_length, summed = priced(GRPO()), priced(GRPO(aggregate="constant"))
    assert cosine(by_length, kl_gradient) < 0.99
    assert cosine(by_length, summed) < 0.99


@pytest.mark.parametrize("where", ["reward", "loss"])
def test_where_grpo_comes_to_rest(where: str) -> None:
    """At π* with the KL in the reward. With its default, the KL in the loss, the surrogate's biases remain."""
    reference, rewards = TablePolicy(SMALL, seed=2), SMALL.rewards(seed=3)
    policy = as_policy(SMALL, optimum(reference, rewards, BETA))
    models = TableModels(policy, TableCritic(SMALL, torch.zeros(len(SMALL.states), dtype=torch.float64)))
    pricing = Pricing(where, "k1" if where == "reward" else "k3")
    pull = expected_gradient(GRPO(), models, reference, rewards, BETA, k=2, pricing=pricing).abs().max()
    assert pull < 1e-6 if where == "reward" else pull > 0.02


@pytest.mark.parametrize("k", [2, 3])
def test_a_mean_that_includes_the_completion_moves_the_optimum(k: int) -> None:
    """(K − 1)/K·∇E[r] − β·∇KL is zero at π_ref·exp(r·(K − 1)/(K·β)); at π* the price outweighs the reward."""
    reference, rewards = TablePolicy(SMALL, seed=2), SMALL.rewards(seed=3)

    def pull(price: float) -> float:
        policy = as_policy(SMALL, optimum(reference, rewards, price))
        models = TableModels(policy, TableCritic(SMALL, torch.zeros(len(SMALL.states), dtype=torch.float64)))
        pricing = Pricing("loss", "k3")
        return float(
            expected_gradient(DrGRPO(), models, reference, rewards, BETA, k=k, pricing=pricing).abs().max()
        )

    assert pull(BETA * k / (k - 1)) < 1e-8
    assert pull(BETA) > 0.02
