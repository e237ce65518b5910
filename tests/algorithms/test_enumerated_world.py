"""The proof: where every completion can be enumerated, gradient and optimum are known exactly.

Objective: J(π) = E_π[r] − β·KL(π‖π_ref), averaged over prompts. Its gradient comes from automatic differentiation
of the sum over all completions; its maximum is π*(y) ∝ π_ref(y)·exp(r(y)/β).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from exact_world import BETA, PLAIN, SMALL, WIDE, Setting, cosine, equal, train
from torch import Tensor
from worlds import (
    TableCritic,
    TableModels,
    TablePolicy,
    World,
    as_policy,
    expected_gradient,
    objective,
    optimum,
    total_variation,
)

from gnomon.algorithms.cispo import CISPO
from gnomon.algorithms.contract import algorithms
from gnomon.algorithms.dapo import DAPO
from gnomon.algorithms.dr_grpo import DrGRPO
from gnomon.algorithms.grpo import GRPO
from gnomon.algorithms.gspo import GSPO
from gnomon.algorithms.ppo import PPO
from gnomon.algorithms.reinforce import Reinforce
from gnomon.algorithms.reinforce_pp import ReinforcePP
from gnomon.algorithms.rloo import RLOO
from gnomon.algorithms.rto import RTO
from gnomon.core.experience import Experience, RunningStats
from gnomon.losses.reduce import constant_mean, sequence_mean
from gnomon.rollouts.experience import apply_kl_penalty


@pytest.fixture(scope="module")
def wide() -> Setting:
    return Setting(WIDE)


@pytest.fixture(scope="module")
def small() -> Setting:
    return Setting(SMALL)


def test_the_world_is_whole(wide: Setting) -> None:
    assert len(WIDE.rows) == len(set(WIDE.rows)) == 2 * 40
    torch.testing.assert_close(wide.policy.probabilities().sum(1), torch.ones(2, dtype=torch.float64))
    value = objective(wide.policy, wide.reference, wide.rewards, BETA).item()
    starts = [wide.exact[WIDE.states[p, ()]].item() for p in range(2)]
    assert sum(starts) / 2 == pytest.approx(value, abs=1e-12)
    best = as_policy(WIDE, optimum(wide.reference, wide.rewards, BETA))
    log_z = torch.logsumexp((wide.reference.all_logprobs() + wide.rewards / BETA).view(2, -1), 1).mean()
    at_best = objective(best, wide.reference, wide.rewards, BETA).item()
    assert at_best == pytest.approx(BETA * log_z.item(), abs=1e-9)


# What is unbiased: the expected gradient is that of J.


@pytest.mark.parametrize(
    ("which", "gae_lambda"),
    [("zeros", 1.0), ("arbitrary", 1.0), ("exact", 1.0), ("exact", 0.95), ("exact", 0.0)],
)
def test_with_a_critic_it_is_exact(wide: Setting, which: str, gae_lambda: float) -> None:
    """Any baseline will do when the return is trusted; a perfect critic may be trusted in any measure."""
    values = {"zeros": torch.zeros_like(wide.exact), "arbitrary": wide.arbitrary, "exact": wide.exact}[which]
    equal(wide.gradient(PPO(gae_lambda=gae_lambda, **PLAIN), values=values), wide.true_gradient())


def test_rto_without_token_rewards_is_ppo(wide: Setting) -> None:
    ppo = wide.gradient(PPO(value_weight=0.0))
    equal(wide.gradient(RTO(value_weight=0.0)), ppo)


def test_rtos_token_rewards_are_worth_their_sum(wide: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """λ = 1, any critic, nothing whitened: ∇E[r + β₁·log π_dpo/π_ref] − β₂·∇KL."""
    monkeypatch.setattr("gnomon.algorithms.rto.whiten", lambda advantages, mask: advantages)
    taught = TablePolicy(WIDE, seed=7)
    algorithm = RTO(token_weight=0.4, gae_lambda=1.0, value_weight=0.0, aggregate="constant")
    with torch.no_grad():
        gained = taught.all_logprobs() - wide.reference.all_logprobs()
    worth = objective(wide.policy, wide.reference, wide.rewards + 0.4 * gained, BETA)
    expected = torch.autograd.grad(worth, wide.policy.table)[0]
    assert (expected - wide.true_gradient()).abs().max() > 0.05
    equal(wide.gradient(algorithm, token_reward=taught), expected)


# What another distribution drew.


def drawn_elsewhere(world: World, cap: float) -> tuple[Tensor, Setting, TablePolicy]:
    """RLOO's expected step from pairs that another table drew, weighed up to `cap`."""
    setting, sampler = Setting(world), TablePolicy(world, seed=9)
    return setting.gradient(RLOO(tis_cap=cap), k=2, sampler=sampler), setting, sampler


def test_importance_weights_undo_another_sampler() -> None:
    """One token: π/μ times what μ draws is what π draws, whatever the baseline. With a cap, min(π/μ, cap)·μ.

    The fellow's return is that of μ's draws; where weights are cut it does not drop out any more.
    """
    world = World(letters=3, longest=1)
    gradient, setting, sampler = drawn_elsewhere(world, cap=1e6)
    equal(gradient, setting.true_gradient())

    capped, _, _ = drawn_elsewhere(world, cap=1.2)
    chance, other = setting.policy.probabilities(), sampler.probabilities()
    assert bool((chance / other > 1.2).any())
    logprobs = setting.policy.all_logprobs().view(world.prompts, -1)
    net = (setting.rewards - BETA * (logprobs.flatten() - setting.reference.all_logprobs())).detach()
    net = net.view(world.prompts, -1)
    pull = torch.minimum(chance, 1.2 * other) * (net - (other * net).sum(1, keepdim=True))
    gain = (pull * logprobs).sum() / world.prompts
    equal(capped, torch.autograd.grad(gain, setting.policy.table)[0])
    assert (capped - setting.true_gradient()).abs().max() > 0.01


def test_weights_of_single_tokens_are_not_those_of_completions() -> None:
    """Each token has its own ratio: of several, the expected step is near the gradient, not at it."""
    gradient, setting, _ = drawn_elsewhere(SMALL, cap=1e6)
    assert 0.5 < cosine(gradient, setting.true_gradient()) < 0.999


def test_an_imperfect_critic_biases_it_when_trusted(wide: Setting) -> None:
    gradient = wide.gradient(PPO(gae_lambda=0.95, **PLAIN))
    assert (gradient - wide.true_gradient()).abs().max() > 1e-3


@pytest.mark.parametrize("baseline", ["none", "running", "critic"])
def test_reinforce_is_exact_with_any_baseline(wide: Setting, baseline: Any) -> None:
    algorithm = Reinforce(baseline=baseline, normalize=False, value_weight=0.0)
    compute_advantages = algorithm.compute_advantages

    class After:
        """With rounds behind it whose returns averaged 0.7."""

        loss = algorithm.loss

        def compute_advantages(self, experience: Experience) -> Experience:
            return compute_advantages(replace(experience, return_stats=RunningStats(0.7, 2.0, 3)))

    equal(wide.gradient(After()), wide.true_gradient())


def test_normalized_returns_only_scale(wide: Setting) -> None:
    algorithm = Reinforce(baseline="none")
    gradient = wide.gradient(algorithm)  # past deviation of 1: no scale in the first round
    equal(gradient, wide.true_gradient())


@pytest.mark.parametrize("k", [2, 3])
def test_rloo_is_exact(small: Setting, k: int) -> None:
    equal(small.gradient(RLOO(), k=k), small.true_gradient())


@pytest.mark.parametrize("k", [2, 3])
def test_a_mean_that_includes_the_completion_scales_by_k_minus_1_over_k(small: Setting, k: int) -> None:
    equal(small.gradient(DrGRPO(), k=k), small.true_gradient() * (k - 1) / k)


def test_the_entropy_bonus_has_the_gradient_of_the_entropy(small: Setting) -> None:
    """Priced like a KL to a uniform reference: E[r] + c·H."""

    class WithBonus(RLOO):
        """The bonus, put where the loop puts it."""

        def compute_advantages(self, experience: Experience) -> Experience:
            return super().compute_advantages(apply_kl_penalty(experience, 0.0, entropy_bonus=0.5))

    logprobs = small.policy.all_logprobs()
    entropy = -(logprobs.exp() * logprobs).sum() / SMALL.prompts
    true = small.true_gradient(0.0) + 0.5 * torch.autograd.grad(entropy, small.policy.table)[0]
    equal(small.gradient(WithBonus(), k=2, beta=0.0), true)


# What is biased, and by how much.


def test_whitening_turns_the_step_only_by_its_baseline(wide: Setting) -> None:
    """The batch's mean is a constant baseline and its deviation a scale, when the batch is the whole world."""
    gradient = wide.gradient(ReinforcePP(aggregate="constant"))
    assert cosine(gradient, wide.true_gradient()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [(GRPO, 0.5, 0.999), (GSPO, 0.5, 0.999), (DAPO, 0.5, 0.999), (CISPO, 0.5, 0.999)],
)
def test_deviation_and_length_turn_the_step(small: Setting, kind: Any, least: float, most: float) -> None:
    """Between ascent and exact: still uphill, no longer the gradient."""
    similarity = cosine(small.gradient(kind(), k=3), small.true_gradient())
    assert least < similarity < most


def test_grpo_without_its_three_biases_is_the_gradient(small: Setting) -> None:
    plain = GRPO(scale=False, aggregate="constant")
    equal(small.gradient(plain, k=2), small.true_gradient() / 2)


def test_one_over_length_favours_stopping() -> None:
    """A length with stop probability p = 0.1 and equal advantages.

    1/L weighting adds E[1/L] − p = p/(1 − p)·(−ln p) − p = 0.15584 to the stop logit, a constant divisor
    E[1 − pL] = 0 (Liu et al. 2025).
    """
    p, longest = 0.1, 400
    logit = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64, requires_grad=True)
    stop, go = torch.nn.functional.logsigmoid(logit), torch.nn.functional.logsigmoid(-logit)
    lengths = torch.arange(1, longest + 1)
    at = torch.arange(longest)[None]
    mask = at < lengths[:, None]
    logprobs = torch.where(at == lengths[:, None] - 1, stop, go)
    chance = (p * (1 - p) ** (lengths - 1).double())[:, None]
    by_length = torch.autograd.grad(sequence_mean(chance * logprobs, mask, 1), logit, retain_graph=True)[0]
    constant = torch.autograd.grad(constant_mean(chance * logprobs, mask, 1, 1), logit)[0]
    assert by_length.item() == pytest.approx(0.15584, abs=1e-5)
    assert constant.item() == pytest.approx(0.0, abs=1e-9)


# The optimum.

ELSEWHERE = {"expert_iteration", "online_dpo"}  # another optimum is theirs; see below
APART: dict[str, tuple[Any, float]] = {
    "ppo": (PPO(value_weight=1.0), 0.02),
    "rto": (RTO(value_weight=1.0), 0.02),
    "reinforce": (Reinforce(), 0.04),
    "gspo": (GSPO(clip_low=0.2, clip_high=0.2), 0.06),
}  # settings for this world, or a limit of their own
ONLINE = [name for name, kind in algorithms().items() if cast(Any, kind).consumes is Experience]
REACHES: dict[str, tuple[Any, float]] = {
    name: APART.get(name) or (algorithms()[name](), 0.06) for name in ONLINE if name not in ELSEWHERE
}  # every online algorithm is here by being in its folder
AT_REST = [
    PPO(gae_lambda=1.0, **PLAIN),
    Reinforce(),
    *(algorithm for algorithm, _ in REACHES.values() if algorithm.min_group_size > 1),
]


@pytest.mark.parametrize("algorithm", AT_REST, ids=lambda a: type(a).__name__)
def test_the_optimum_is_a_fixed_point(algorithm: Any) -> None:
    """A policy that is π* earns the same r − β·log(π/π_ref) whatever it says, so nothing pulls at it."""
    reference, rewards = TablePolicy(SMALL, seed=2), SMALL.rewards(seed=3)
    policy = as_policy(SMALL, optimum(reference, rewards, BETA))
    models = TableModels(policy, TableCritic(SMALL, SMALL.noise(4, len(SMALL.states))))
    k = max(1, algorithm.min_group_size)
    assert expected_gradient(algorithm, models, reference, rewards, BETA, k=k).abs().max() < 1e-6


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("name", REACHES)
def test_training_on_samples_reaches_the_optimum(name: str) -> None:
    """From π_ref, more than 0.3 away, to the stated total variation of the worst prompt, over five seeds."""
    algorithm, limit = REACHES[name]
    beta = 0.5
    best = optimum(TablePolicy(SMALL, seed=2), SMALL.rewards(seed=3), beta)
    assert total_variation(TablePolicy(SMALL, seed=2), best) > 0.3
    distances = [total_variation(train(algorithm, seed, beta=beta), best) for seed in range(5)]

    assert max(distances) < limit, distances
