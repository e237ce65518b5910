"""GRPO's weight of a prompt by its success rate: the closed form beside the enumeration of every group."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from exact_world import equal
from worlds import TableCritic, TableModels, TablePolicy, World, expected_gradient

from gnomon.algorithms.dr_grpo import DrGRPO
from gnomon.algorithms.grpo import GRPO

BANDIT = World(letters=3, longest=1, prompts=2)
ADDED = 1e-4  # to a group's deviation


def weight(q: float, k: int, added: float = 0.0) -> float:
    """c_K(q): how long the expected step is beside ∇q, for rewards of 0 and 1.

    A group with s successes has the deviation √(s(K − s)/(K(K − 1))). A success has the advantage (K − s)/K in
    its units and the expected score function ∇q/q, a failure −s/K and −∇q/(1 − q). The mean over the group is
    s(K − s)/K²·∇q/(q(1 − q)) in units of the deviation, which without what is added to it is
    √(s(K − s)(K − 1)/K)/K·∇q/(q(1 − q)).
    """
    total = 0.0
    for s in range(1, k):
        chance = math.comb(k, s) * q**s * (1 - q) ** (k - s)
        deviation = math.sqrt(s * (k - s) / (k * (k - 1)))
        total += chance * s * (k - s) / k**2 / (deviation + added)
    return total / (q * (1 - q))


def successes(policy: TablePolicy) -> torch.Tensor:
    """The success rate of each prompt: two of four answers are right for the first, one for the second."""
    return (policy.all_logprobs().exp() * right()).view(BANDIT.prompts, -1).sum(1)


def right() -> torch.Tensor:
    return torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_each_prompt_moves_by_its_closed_form(k: int) -> None:
    policy = TablePolicy(BANDIT, seed=1, scale=1.5)
    models = TableModels(policy, TableCritic(BANDIT, torch.zeros(BANDIT.prompts, dtype=torch.float64)))
    rates = successes(policy)
    first, second = rates.tolist()
    assert abs(first - second) > 0.2
    slopes = [torch.autograd.grad(q, policy.table, retain_graph=True)[0] for q in rates]

    gradient = expected_gradient(GRPO(), models, policy, right(), 0.0, k=k)
    weights = [weight(q, k, ADDED) for q in (first, second)]
    equal(gradient, sum(c * slope for c, slope in zip(weights, slopes, strict=True)) / torch.tensor(2.0))

    plain = expected_gradient(DrGRPO(), models, policy, right(), 0.0, k=k)
    equal(plain, (k - 1) / k * (slopes[0] + slopes[1]) / 2)


def test_the_closed_form_by_hand() -> None:
    """K = 2: 2q(1 − q)·√½/2 over q(1 − q) = √½ for every q: pairs know no difficulty.

    K = 3: [3q(1 − q)² + 3q²(1 − q)]·√(4/3)/3 over q(1 − q) = √(4/3) for every q, too. From K = 4 on the ends
    count more; with K → ∞ it is 1/√(q(1 − q)).
    """
    for q in (0.5, 0.1, 0.02):
        assert weight(q, 2) == pytest.approx(math.sqrt(0.5), abs=1e-12)
        assert weight(q, 3) == pytest.approx(math.sqrt(4 / 3), abs=1e-12)
    # K = 4, q = ½: (4 + 4)/16·√(9/4)/4·4 + 6/16·√3/4·4
    assert weight(0.5, 4) == pytest.approx(0.75 + 0.375 * math.sqrt(3), abs=1e-12)
    assert weight(0.1, 4) > weight(0.5, 4) * 1.04
    assert weight(0.1, 400) == pytest.approx(1 / 0.3, rel=0.02)


def test_the_proof_page_has_these_numbers() -> None:
    """The weight of a prompt beside that of one which is solved half of the time."""
    page = (Path(__file__).parents[2] / "docs" / "correctness.md").read_text(encoding="utf-8")
    for k in (2, 3, 4, 8, 16, 64):
        shares = " | ".join(f"{weight(q, k) / weight(0.5, k):.2f}" for q in (0.3, 0.1, 0.05, 0.02))
        assert f"| {k} | {shares} |" in page, f"| {k} | {shares} |"
