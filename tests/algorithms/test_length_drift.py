"""Lengths drift under GRPO and not under Dr. GRPO, by training on samples, over seeds; and the KL of best-of-n.

The first letter decides whether a completion is right; how long it goes on is worth nothing.
"""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from statistics import fmean, stdev
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from worlds import TableCritic, TableModels, TablePolicy, World, experience_of

from gnomon.algorithms.dr_grpo import DrGRPO
from gnomon.algorithms.grpo import GRPO

WORLD = World(letters=2, longest=5, prompts=1)
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SEEDS, STUDENT = 8, 2.365  # seven degrees of freedom, 95%


def starts_with(letter: int) -> Tensor:
    return torch.tensor([1.0 if c[0] == letter else 0.0 for _, c in WORLD.rows], dtype=torch.float64)


def mean_length(policy: TablePolicy, letter: int) -> float:
    """Of completions that begin with the letter, exactly."""
    chance = policy.probabilities().flatten() * starts_with(letter)
    lengths = torch.tensor([float(len(c)) for _, c in WORLD.rows], dtype=torch.float64)
    return float((chance * lengths).sum() / chance.sum())


def trained(algorithm: Any, seed: int) -> TablePolicy:
    """60 rounds of 128 samples, K = 8, plain steps from the uniform policy; the right letter is 0."""
    torch.manual_seed(seed)
    policy, rewards = TablePolicy(WORLD, seed=0, scale=0.0), starts_with(0)
    reference = TablePolicy(WORLD, seed=0, scale=0.0)
    models = TableModels(policy, TableCritic(WORLD, torch.zeros(len(WORLD.states), dtype=torch.float64)))
    group = [g for g in range(16) for _ in range(8)]
    for _ in range(60):
        drawn = torch.multinomial(policy.probabilities()[0], 128, replacement=True).tolist()
        batch = algorithm.compute_advantages(experience_of(drawn, models, reference, rewards, 0.0, group=group))
        loss, _ = algorithm.loss(cast(Any, models), batch)
        (step,) = torch.autograd.grad(loss, policy.table)
        policy.table.data -= 0.5 * step
    return policy


def drift() -> dict[str, list[float]]:
    """How much longer wrong and right completions have become: mean and half a 95% interval over seeds.

    Before them the share of right ones, to which both come.
    """
    before = mean_length(TablePolicy(WORLD, seed=0, scale=0.0), 0)
    rows: dict[str, list[float]] = {}
    for name, algorithm in (("grpo", GRPO()), ("dr_grpo", DrGRPO())):
        ends = [trained(algorithm, seed) for seed in range(SEEDS)]
        shares = [float((p.probabilities().flatten() * starts_with(0)).sum()) for p in ends]
        row = [fmean(shares)]
        for letter in (1, 0):
            moved = [mean_length(p, letter) - before for p in ends]
            row += [fmean(moved), STUDENT * stdev(moved) / math.sqrt(SEEDS)]
        rows[name] = [round(v, 3) for v in row]
    return rows


@pytest.mark.long
@pytest.mark.slow
def test_wrong_completions_grow_longer_under_grpo_alone() -> None:
    """GRPO's drifts stand clear of 0 and of Dr. GRPO's, which are within a fifth of them."""
    rows = drift()
    share, wrong, wrong_within, right, right_within = rows["grpo"]
    plain_share, plain_wrong, plain_within, plain_right, plain_right_within = rows["dr_grpo"]
    assert wrong - wrong_within > 0.1
    assert right + right_within < -0.2
    assert abs(plain_wrong) + plain_within < 0.1
    assert abs(plain_right) + plain_right_within < 0.1
    assert abs(plain_wrong) < wrong / 5
    assert abs(plain_right) < -right / 5
    assert min(share, plain_share) > 0.95  # both have learned


def test_best_of_n_costs_at_most_log_n_less_n_minus_1_over_n(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.6363 nats for n = 4, 3.1745 for n = 64; reached where no completion has a probability of its own."""
    monkeypatch.setattr(sys, "path", [str(PICTURES), *sys.path])
    best_of = importlib.import_module("make").best_of
    bounds = {n: math.log(n) - (n - 1) / n for n in (4, 64)}
    assert bounds == pytest.approx({4: 0.6363, 64: 3.1745}, abs=5e-5)
    fine = torch.full((1, 200_000), 1 / 200_000, dtype=torch.float64)
    coarse = TablePolicy(World(letters=2, longest=2, prompts=1), seed=2).probabilities()
    for n, bound in bounds.items():
        for base, least, most in ((fine, bound - 1e-3, bound + 1e-9), (coarse, 0.1, bound - 0.05)):
            rewards = torch.arange(base.shape[1], dtype=torch.float64)
            chosen = best_of(SimpleNamespace(probabilities=lambda base=base: base), rewards, n)
            assert float(chosen.sum()) == pytest.approx(1.0)
            assert least < float(torch.special.xlogy(chosen, chosen / base).sum()) < most
