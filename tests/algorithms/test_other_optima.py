"""Expert iteration, online DPO and OPO: expected steps by their own formulas, and where training ends."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from exact_world import BETA, SMALL, Setting, cosine, equal, train
from torch import Tensor
from worlds import World, as_policy, experience_of, optimum

from gnomon.algorithms.expert_iteration import ExpertIteration
from gnomon.algorithms.online_dpo import OnlineDPO
from gnomon.algorithms.opo import OPO
from gnomon.core.batches import StepTotals

BANDIT, CHAIN = World(letters=3, longest=1), World(letters=1, longest=3)


@pytest.fixture(scope="module")
def small() -> Setting:
    return Setting(SMALL)


def ranked(setting: Setting) -> tuple[Tensor, Tensor]:
    """For each completion the chance of drawing one that is no better, and one that is worse, `[P, C]`."""
    chance, rewards = setting.policy.probabilities(), setting.rewards.view(setting.world.prompts, -1)
    worse = (rewards[:, None, :] < rewards[:, :, None]).double()
    below = (worse * chance[:, None, :]).sum(2)
    return below + chance, below


@pytest.mark.parametrize("k", [2, 3])
def test_expert_iteration_imitates_the_best_of_k(small: Setting, k: int) -> None:
    """Σ P(best of K = y)·∇log π(y) with P = F(r)^K − F(r⁻)^K, over K: one of K draws is imitated."""
    up_to, below = ranked(small)
    best = up_to**k - below**k
    torch.testing.assert_close(best.sum(1), torch.ones(2, dtype=torch.float64))
    likelihood = (best.flatten() * small.policy.all_logprobs()).sum() / SMALL.prompts / k
    expected = torch.autograd.grad(likelihood, small.policy.table)[0]
    equal(small.gradient(ExpertIteration(), k=k, beta=0.0), expected)


def step_of_pairs(setting: Setting, k: int, algorithm: OnlineDPO, *, noisy: bool = False) -> Tensor:
    """The expected ascent of online DPO: the loss of every group of K, by its chance.

    `noisy`: the judge prefers the first of a pair with probability σ(r₁ − r₂).
    """
    world, size = setting.world, len(setting.world.completions)
    chance = setting.policy.probabilities()
    total = torch.zeros((), dtype=torch.float64)
    for prompt, members in itertools.product(range(world.prompts), itertools.product(range(size), repeat=k)):
        rows = [prompt * size + i for i in members]
        if len(set(rows)) == 1:
            continue
        drawn = float(chance[prompt, list(members)].prod()) / world.prompts
        lead = setting.rewards[rows[0]] - setting.rewards[rows[1]]
        says = [(1.0, setting.rewards)]
        if noisy:
            side = torch.zeros_like(setting.rewards)
            side[rows[0]] = 1.0
            says = [(float(lead.sigmoid()), side), (float((-lead).sigmoid()), -side)]
        for often, scores in says:
            experience = experience_of(rows, setting.models(), setting.reference, scores, 0.0, group=[0] * k)
            batch = replace(
                algorithm.compute_advantages(experience),
                totals=StepTotals(k, float(experience.tokens.mask.sum()), groups=1),
            )
            total = total + drawn * often * algorithm.loss(cast(Any, setting.models()), batch)[0]
    return -torch.autograd.grad(total, setting.policy.table)[0]


@pytest.mark.parametrize(("world", "k"), [(CHAIN, 2), (BANDIT, 3)], ids=["pairs", "threes"])
def test_online_dpo_learns_from_the_best_against_the_worst(world: World, k: int) -> None:
    """Σ P(best = a, worst = b)·σ(−β·lead)·β·(∇log π(a) − ∇log π(b)), the lead in log-ratios to the reference.

    All of K between b and a, less those without a, less those without b, and back those without either.
    """
    setting, algorithm = Setting(world), OnlineDPO(beta=0.3)
    up_to, below = ranked(setting)
    logprobs = setting.policy.all_logprobs().view(world.prompts, -1)
    moved = (logprobs - setting.reference.all_logprobs().detach().view(world.prompts, -1)).detach()
    rewards = setting.rewards.view(world.prompts, -1)
    gain = torch.zeros((), dtype=torch.float64)
    for p in range(world.prompts):
        for a, b in itertools.permutations(range(len(world.completions)), 2):
            if rewards[p, a] <= rewards[p, b]:
                continue
            top, under, floor, bottom = up_to[p, a], below[p, a], up_to[p, b], below[p, b]
            chance = (top - bottom) ** k - (under - bottom) ** k - (top - floor) ** k + (under - floor) ** k
            pull = 0.3 * torch.sigmoid(-0.3 * (moved[p, a] - moved[p, b]))
            gain = gain + chance * pull * (logprobs[p, a] - logprobs[p, b]) / world.prompts
    equal(step_of_pairs(setting, k, algorithm), torch.autograd.grad(gain, setting.policy.table)[0])


def test_online_dpo_rests_at_the_optimum_of_a_judge_who_errs_as_bradley_and_terry_say() -> None:
    """P(a before b) = σ(r_a − r_b) is what β·log-ratio gives at π_ref·exp(r/β)/Z: no pair pulls there.

    A judge who never errs pulls there too, for −log σ falls with every lead.
    """
    setting = Setting(BANDIT)
    setting.policy = as_policy(BANDIT, optimum(setting.reference, setting.rewards, BETA))
    algorithm = OnlineDPO(beta=BETA)
    assert step_of_pairs(setting, 2, algorithm, noisy=True).abs().max() < 1e-8
    assert step_of_pairs(setting, 2, algorithm).abs().max() > 0.005


@pytest.mark.parametrize(("world", "k"), [(SMALL, 2), (CHAIN, 3)], ids=["pairs", "threes"])
def test_opo_compares_with_the_others_by_their_lengths(world: World, k: int) -> None:
    """A_n = Σ_{m≠n} l_m·(R_n − R_m)/Σ l: what it learns from a completion shrinks by its share of the tokens."""
    setting = Setting(world)
    chance = setting.policy.probabilities()
    with torch.no_grad():
        price = BETA * (setting.policy.all_logprobs() - setting.reference.all_logprobs())
    net = (setting.rewards - price).view(world.prompts, -1)
    lengths = torch.tensor([float(len(c)) for c in world.completions], dtype=torch.float64)
    logprobs = setting.policy.all_logprobs().view(world.prompts, -1)
    gain = torch.zeros((), dtype=torch.float64)
    for p in range(world.prompts):
        for members in itertools.product(range(len(world.completions)), repeat=k):
            drawn, some = chance[p, list(members)].prod(), list(members)
            first, others = some[0], some[1:]
            total = lengths[some].sum()
            advantage = (lengths[others] * (net[p, first] - net[p, others])).sum() / total
            gain = gain + drawn * advantage * logprobs[p, first] / world.prompts
    equal(setting.gradient(OPO(), k=k), torch.autograd.grad(gain, setting.policy.table)[0])


def test_opos_bias_is_that_of_unequal_lengths_and_fades_with_k() -> None:
    """Of equal lengths nothing is left but (K − 1)/K; of unequal ones a turn that shrinks with K."""
    bandit, chain = Setting(BANDIT), Setting(CHAIN)
    for k in (2, 3):
        equal(bandit.gradient(OPO(), k=k), bandit.true_gradient() * (k - 1) / k)
    turns = [1 - cosine(chain.gradient(OPO(), k=k), chain.true_gradient()) for k in (2, 3, 5)]
    assert turns[0] > 0.009
    assert turns[0] > 1.5 * turns[1] > 2.5 * turns[2]


LIMITS: dict[str, tuple[Any, float]] = {
    "expert_iteration": (ExpertIteration(), 0.1),
    "online_dpo": (OnlineDPO(), 0.03),
}


def missed(algorithm: Any, seed: int) -> float:
    """What training leaves to all but the best completion, the worse prompt's.

    The best must be drawn to be found: the reference is flatter than in the other trainings, groups are larger,
    steps smaller. It begins at a chance of 0.02.
    """
    best = SMALL.rewards(seed=3).view(SMALL.prompts, -1).argmax(1, keepdim=True)
    policy = train(algorithm, seed, beta=0.0, rounds=240, k=16, rate=0.05, spread=0.3)
    return float((1 - policy.probabilities().gather(1, best)).max())


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_training_goes_to_the_best_completion(name: str) -> None:
    """The optimum of both with a judge who never errs, over five seeds."""
    algorithm, limit = LIMITS[name]
    distances = [missed(algorithm, seed) for seed in range(5)]
    assert max(distances) < limit, distances
