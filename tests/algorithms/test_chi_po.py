"""χPO: its loss by hand, and the optimum that its paper gives, beside DPO's on the same preferences."""

from __future__ import annotations

import pytest
import torch
from preference_worlds import SEVEN, TablePolicy, all_pairs, fit, preferences

from gnomon.algorithms.chi_po import ChiPO
from gnomon.algorithms.dpo import DPO

REWARDS = 2 * torch.randn(2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_its_reward_by_hand() -> None:
    """½·(e + 1), ½·(1 + 0), ½·(e^−1 − 1); beyond a log-ratio of 20 only the logarithm goes on."""
    reward = ChiPO(beta=0.5).implicit_reward(torch.tensor([1.0, 0.0, -1.0]))
    assert reward.tolist() == pytest.approx([1.859141, 0.5, -0.316060], abs=1e-5)
    far = ChiPO(beta=1.0).implicit_reward(torch.tensor([20.0, 30.0], dtype=torch.float64))
    assert float(far[1] - far[0]) == pytest.approx(10.0)


def test_it_ends_where_its_price_explains_the_preferences() -> None:
    """β·(π/π_ref + log π/π_ref) = r + constant for each prompt, from the shares of all pairs."""
    reference, policy = TablePolicy(SEVEN, seed=0), TablePolicy(SEVEN, seed=2)
    fit(ChiPO(beta=0.5), policy, preferences(reference, all_pairs(REWARDS)))
    moved = (policy.sums() - reference.sums()).detach()
    worth = 0.5 * (moved.exp() + moved) - REWARDS
    torch.testing.assert_close(worth, worth.mean(1, keepdim=True).expand_as(worth), atol=1e-3, rtol=0)
    assert moved.abs().max() > 0.5


def test_no_completion_runs_as_far_from_the_reference_as_with_dpo() -> None:
    reference, dpo, chi = (TablePolicy(SEVEN, seed=seed) for seed in (0, 2, 2))
    batch = preferences(reference, all_pairs(REWARDS))
    fit(DPO(beta=0.5), dpo, batch)
    fit(ChiPO(beta=0.5), chi, batch)
    farthest = [float((p.sums() - reference.sums()).max().detach()) for p in (dpo, chi)]
    assert farthest[1] < 0.8 * farthest[0]
