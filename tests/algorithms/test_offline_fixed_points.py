"""Where each offline algorithm ends on exact preferences: what its paper, or its own gradient, says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from preference_worlds import (
    SEVEN,
    TWO_ARMS,
    TablePolicy,
    all_pairs,
    fit,
    fit_labels,
    labels,
    minimize,
    models,
    preferences,
    rankings,
    root,
    surveyed,
)
from torch import Tensor

from gnomon.algorithms.bco import BCO
from gnomon.algorithms.cpo import CPO
from gnomon.algorithms.dpo import DPO
from gnomon.algorithms.hinge import Hinge
from gnomon.algorithms.ipo import IPO
from gnomon.algorithms.kto import KTO
from gnomon.algorithms.orpo import ORPO
from gnomon.algorithms.plackett_luce import PlackettLuce
from gnomon.algorithms.simpo import SimPO

REWARDS = torch.randn(2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
END, A_END, AA = 0, 1, 3  # completions of the world of seven, of 1, 2 and 2 tokens


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def variation(policy: TablePolicy, expected: Tensor) -> float:
    """Total variation from log-probabilities `[prompts, completions]`, of the worse prompt."""
    return float((policy.sums().exp() - expected.exp()).abs().sum(1).max().detach()) / 2


def log_ratios(policy: TablePolicy, reference: TablePolicy) -> Tensor:
    return (policy.sums() - reference.sums()).detach()


def gap(algorithm: Any, p: float, world: Any = TWO_ARMS, *, reference: bool = True) -> float:
    """Log-ratio (log-prob without a reference) of the first completion less the second's; prompt 1 is flipped."""
    start, policy = TablePolicy(world, seed=3), TablePolicy(world, seed=4, scale=0.3)
    batch = preferences(start, {(0, 0, 1): p, (1, 1, 0): p})
    fit(algorithm, policy, batch)
    margins = log_ratios(policy, start) if reference else policy.sums().detach()
    one, other = float(margins[0, 0] - margins[0, 1]), float(margins[1, 1] - margins[1, 0])
    assert one == pytest.approx(other, abs=1e-4)
    return one


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_dpo_reaches_the_optimum_of_reward_less_kl(beta: float) -> None:
    """π_ref·exp(r/β)/Z for both prompts, from the shares σ(r_a − r_b) of all 42 pairs."""
    reference, policy = TablePolicy(SEVEN, seed=0), TablePolicy(SEVEN, seed=2)
    fit(DPO(beta=beta), policy, preferences(reference, all_pairs(REWARDS)))
    expected = (reference.sums().detach() + REWARDS / beta).log_softmax(1)
    assert variation(reference, expected) > 0.05
    assert variation(policy, expected) < 1e-4


def test_how_often_a_pair_is_seen_does_not_move_the_optimum_of_dpo() -> None:
    reference, policy = TablePolicy(SEVEN, seed=0), TablePolicy(SEVEN, seed=2)
    batch = preferences(reference, all_pairs(REWARDS))
    batch = replace(batch, weight=1 + torch.arange(42, dtype=torch.float64) % 5)
    fit(DPO(beta=0.5), policy, batch)
    assert variation(policy, (reference.sums().detach() + REWARDS / 0.5).log_softmax(1)) < 1e-4


def test_margins_add_to_the_reward_that_is_learned() -> None:
    """Margins r_a − r_b and weight ½: the lead is logit p + ½(r_a − r_b), so the reward is 1.5·r."""
    reference, policy = TablePolicy(SEVEN, seed=0), TablePolicy(SEVEN, seed=2)
    pairs = all_pairs(REWARDS)
    margins = [float(REWARDS[g, a] - REWARDS[g, b]) for g, a, b in pairs]
    fit(DPO(beta=1.0, margin_weight=0.5), policy, preferences(reference, pairs, margins))
    assert variation(policy, (reference.sums().detach() + 1.5 * REWARDS).log_softmax(1)) < 1e-4


def test_plackett_luce_recovers_strengths_up_to_a_constant() -> None:
    """All 24 orders of four completions of one prompt, all 6 of three of the other."""
    reference, policy = TablePolicy(SEVEN, seed=0), TablePolicy(SEVEN, seed=2)
    ranked = [[0, 2, 3, 6], [1, 4, 5]]
    fit(PlackettLuce(beta=0.5), policy, rankings(reference, REWARDS, ranked))
    margins = 0.5 * log_ratios(policy, reference)
    for g, members in enumerate(ranked):
        strengths = REWARDS[g, members] - REWARDS[g, members].mean()
        torch.testing.assert_close(margins[g, members] - margins[g, members].mean(), strengths, atol=1e-4, rtol=0)


def test_conservative_smoothing_by_hand() -> None:
    """ε = 0.1: p = 0.9 becomes 0.82 with logit 1.516; p = 1 becomes 0.9, a cap of log 9 = 2.197."""
    assert 0.5 * gap(DPO(beta=0.5, label_smoothing=0.1), 0.9) == pytest.approx(1.516, abs=1e-3)
    assert 0.5 * gap(DPO(beta=0.5, label_smoothing=0.1), 1.0) == pytest.approx(2.197, abs=1e-3)


@pytest.mark.parametrize("algorithm", [DPO(), IPO(), Hinge(), SimPO(), CPO(sft_coef=0.0)])
def test_robust_losses_are_unbiased_under_flips(algorithm: Any) -> None:
    """(1 − ε)·robust(p) + ε·robust(1 − p) = clean(p): labels flipped at rate ε cost what the true ones do."""
    start, policy, flips = TablePolicy(SEVEN, seed=3), TablePolicy(SEVEN, seed=4), 0.3
    pairs = {(0, 0, 1): 1.0, (0, 3, 4): 1.0, (1, 5, 2): 0.7}
    robust = replace(algorithm, label_smoothing=flips, robust=True)

    def loss(of: Any, shares: dict[Any, float]) -> float:
        return float(of.loss(models(policy), preferences(start, shares))[0].detach())

    flipped = {pair: 1 - p for pair, p in pairs.items()}
    mean = (1 - flips) * loss(robust, pairs) + flips * loss(robust, flipped)
    assert mean == pytest.approx(loss(algorithm, pairs), rel=1e-9)
    assert loss(robust, pairs) != pytest.approx(loss(algorithm, pairs), rel=1e-3)


def test_robust_dpo_undoes_flips() -> None:
    """True share 0.8, a fifth of labels flipped: raters say 0.68; plain DPO learns that, the robust one 0.8."""
    assert 0.5 * gap(DPO(beta=0.5), 0.68) == pytest.approx(logit(0.68), abs=1e-4)
    robust = DPO(beta=0.5, label_smoothing=0.2, robust=True)
    assert 0.5 * gap(robust, 0.68) == pytest.approx(logit(0.8), abs=1e-4)


@pytest.mark.parametrize("p", [0.5, 0.8, 1.0])
def test_ipo_two_arms(p: float) -> None:
    """(p − ½)/τ nats a token, also at p = 1; and between completions of 1 and of 2 tokens."""
    assert gap(IPO(tau=0.25), p) == pytest.approx((p - 0.5) / 0.25, abs=1e-4)
    reference, policy = TablePolicy(SEVEN, seed=0), TablePolicy(SEVEN, seed=2)
    fit(IPO(tau=0.25), policy, preferences(reference, {(0, END, A_END): p, (1, END, AA): p}))
    margins = log_ratios(policy, reference)
    for g, other in ((0, A_END), (1, AA)):
        assert float(margins[g, END] - margins[g, other] / 2) == pytest.approx((p - 0.5) / 0.25, abs=1e-4)


def test_tokens_beyond_the_shorter_answer_weigh_less() -> None:
    """LD-DPO, α = ¼, of one token against two: h(END) − h(a) − ¼·h(END after a) = logit(p)/β."""
    reference, policy = TablePolicy(SEVEN, seed=0), TablePolicy(SEVEN, seed=2)
    fit(DPO(beta=0.5, ld_alpha=0.25), policy, preferences(reference, {(0, END, A_END): 0.7}))
    moved = (policy.table.log_softmax(-1) - reference.table.log_softmax(-1)).detach()[0]  # [states, letters]
    lead = moved[0, 2] - moved[0, 0] - 0.25 * moved[1, 2]
    assert float(lead) == pytest.approx(logit(0.7) / 0.5, abs=1e-4)


def test_hinge_ends_at_a_lead_of_one_for_any_majority() -> None:
    """The slope p·(−1) + (1 − p) of the lead is negative up to 1 and (1 − p) beyond; at a tie it is 0 up to 1."""
    for p in (0.6, 0.9):
        assert cost_of_lead(Hinge(beta=1.0), p, 0.9) > cost_of_lead(Hinge(beta=1.0), p, 1.0)
        assert cost_of_lead(Hinge(beta=1.0), p, 1.1) > cost_of_lead(Hinge(beta=1.0), p, 1.0)
    assert cost_of_lead(Hinge(), 0.5, -1.0) == pytest.approx(cost_of_lead(Hinge(), 0.5, 0.7))


def cost_of_lead(algorithm: Any, p: float, lead: float) -> float:
    shares = torch.tensor([p], dtype=torch.float64)
    leads = torch.tensor([lead], dtype=torch.float64)
    return float(shares * algorithm.pair_loss(leads) + (1 - shares) * algorithm.pair_loss(-leads))


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_simpo_two_arms(gamma: float) -> None:
    """p·σ(γ − h) = (1 − p)·σ(γ + h), a quadratic in x = exp h: (1 − p)x² − (2p − 1)gx − p = 0, g = exp γ.

    h = β·(difference of average log-probs). Without γ it is logit p.
    """
    p, g = 0.8, math.exp(gamma)
    b = (2 * p - 1) * g
    x = (b + math.sqrt(b * b + 4 * p * (1 - p))) / (2 * (1 - p))
    assert gamma > 0 or x == pytest.approx(p / (1 - p))
    assert 2.0 * gap(SimPO(beta=2.0, gamma=gamma), p, reference=False) == pytest.approx(math.log(x), abs=1e-4)


@pytest.mark.parametrize("p", [0.6, 0.9])
def test_cpo_two_arms(p: float) -> None:
    """In u = log q/(1 − q): β·(σ(βu) − p) + w·(σ(u) − p) = 0, between logit p and logit(p)/β."""
    expected = root(lambda u: 0.5 * (sigma(0.5 * u) - p) + 0.3 * (sigma(u) - p), -20, 20)
    assert logit(p) < expected < logit(p) / 0.5
    assert gap(CPO(beta=0.5, sft_coef=0.3), p, reference=False) == pytest.approx(expected, abs=1e-4)
    assert gap(CPO(beta=0.5, sft_coef=0.0), p, reference=False) == pytest.approx(logit(p) / 0.5, abs=1e-4)


@pytest.mark.parametrize("p", [0.6, 0.9])
def test_orpo_two_arms(p: float) -> None:
    """The odds of the second are those of the first upside down, so the log odds ratio is 2u and
    2λ·(σ(2u) − p) + (σ(u) − p) = 0, between logit(p)/2 and logit p."""
    expected = root(lambda u: 2 * 0.7 * (sigma(2 * u) - p) + sigma(u) - p, -20, 20)
    assert logit(p) / 2 < expected < logit(p)
    assert gap(ORPO(odds_weight=0.7), p, reference=False) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("algorithm", [DPO(beta=0.5), IPO(), SimPO(), CPO(), ORPO(), DPO(beta=0.5, sft_coef=0)])
def test_a_tie_pulls_the_lead_to_nothing(algorithm: Any) -> None:
    """Whatever the start, and the same where hard labels are made of it."""
    for chosen in (algorithm, replace(algorithm, soft_labels=False)):
        assert gap(chosen, 0.5, reference="reference" in algorithm.needs) == pytest.approx(0.0, abs=1e-4)


SHARES = [0.5, 0.8, 0.6, 0.2, 0.4, 0.9, 0.1]  # called good; mirrored about ½


def test_bco_rests_where_rewards_are_the_odds_of_being_called_good() -> None:
    """Equally frequent completions: a classifier with logit βh − δ is at its optimum where σ(βh − δ) = s.

    Each term's gradient is 0 there, and δ = ½(mean of good + mean of bad) holds because shares are mirrored.
    """
    reference, policy = TablePolicy(SEVEN, seed=0), TablePolicy(SEVEN, seed=2)
    batch = labels(reference, {(g, c): s for g in (0, 1) for c, s in enumerate(SHARES)}, {})

    def gradient() -> float:
        known = surveyed(BCO(beta=2.0), policy, reference, batch)
        loss, _ = BCO(beta=2.0).loss(models(policy), known)
        return float(torch.autograd.grad(loss, policy.table)[0].abs().max())

    assert gradient() > 1e-2
    odds = torch.tensor([logit(s) for s in SHARES], dtype=torch.float64)
    # The same prior for both prompts, so that one δ fits both.
    with torch.no_grad():
        reference.table[1] = reference.table[0]
        policy.table[1] = policy.table[0]
    batch = replace(batch, reference_logprobs=reference.logprobs(batch.tokens).detach())
    target = (reference.sums().detach() + odds / 2.0).softmax(1)
    minimize(policy, lambda: -(target * policy.sums()).sum())
    assert gradient() < 1e-8


def test_bco_two_arms() -> None:
    """Shares 0.8 and 0.2: βh differs by 2·log 4; the other prompt the other way round."""
    reference, policy = TablePolicy(TWO_ARMS, seed=0, scale=0.0), TablePolicy(TWO_ARMS, seed=2)
    rows = {(0, 0): 0.8, (0, 1): 0.2, (1, 0): 0.2, (1, 1): 0.8}
    fit_labels(BCO(beta=2.0), policy, reference, labels(reference, rows, {}))
    margins = 2.0 * log_ratios(policy, reference)
    assert float(margins[0, 0] - margins[0, 1]) == pytest.approx(2 * math.log(4), abs=1e-3)
    assert float(margins[1, 1] - margins[1, 0]) == pytest.approx(2 * math.log(4), abs=1e-3)


@pytest.mark.parametrize(("often", "drifts"), [(1.0, False), (4.0, True)])
def test_kto_two_arms(often: float, drifts: bool) -> None:
    """Shares 0.9 and 0.7, the first `often` times as frequent, a uniform reference, both prompts alike.

    With s = σ(βh − z) the loss of an arm has slope −β·a in h, a = μ·(share·λ_D − (1 − share)·λ_U)·s(1 − s); for a
    policy (q, 1 − q) the gradient is nothing where a₁·(1 − q) = a₂·q. z = max(0, β·mean h over mismatched rows):
    0 where both arms are as frequent as in the reference, for then the mean is −KL(ref‖π).
    """
    beta, shares, frequency = 0.5, (0.9, 0.7), (often / (1 + often), 1 / (1 + often))

    def slope(q: float) -> float:
        h = (math.log(2 * q), math.log(2 * (1 - q)))
        z = max(0.0, beta * (frequency[0] * h[0] + frequency[1] * h[1]))
        s = [sigma(beta * x - z) for x in h]
        a = [f * (2 * p - 1) * x * (1 - x) for f, p, x in zip(frequency, shares, s, strict=True)]
        return a[0] * (1 - q) - a[1] * q

    q = root(slope, 0.5, 1 - 1e-6)
    drift = frequency[0] * math.log(2 * q) + frequency[1] * math.log(2 * (1 - q))
    assert (drift > 0) == drifts
    reference, policy = TablePolicy(TWO_ARMS, seed=0, scale=0.0), TablePolicy(TWO_ARMS, seed=2, scale=0.0)
    rows = {(g, c): shares[c] for g in (0, 1) for c in (0, 1)}
    batch = labels(reference, rows, {(g, 0): often for g in (0, 1)})
    fit_labels(KTO(beta=beta), policy, reference, batch)
    for g in (0, 1):
        assert float(policy.sums()[g, 0].exp().detach()) == pytest.approx(q, abs=1e-4)


def test_kto_finds_the_side_of_the_majority_not_its_size() -> None:
    """A completion that most call good gains without end, however large the majority."""
    for share in (0.6, 0.9):
        reference, policy = TablePolicy(TWO_ARMS, seed=0), TablePolicy(TWO_ARMS, seed=0)
        rows = {(g, c): share if c == 0 else 0.1 for g in (0, 1) for c in (0, 1)}
        fit_labels(KTO(beta=1.0), policy, reference, labels(reference, rows, {}))
        assert float(policy.sums()[:, 0].exp().min().detach()) > 0.98
