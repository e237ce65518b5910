"""GAE against hand numbers and a plain loop; whitening; explained variance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnomon.losses.advantages import (
    best_and_worst,
    best_of_group,
    explained_variance,
    gae,
    group_centered,
    leave_one_out,
    returns_to_go,
    whiten,
)


def advantages(
    rewards: list[float], values: list[float], mask: list[bool] | None = None, *, gamma: float, lam: float
) -> list[float]:
    kept = torch.tensor([mask or [True] * len(rewards)])
    actual = gae(torch.tensor([rewards]), torch.tensor([values]), kept, gamma=gamma, gae_lambda=lam)
    return [float(value) for value in actual[0]]


def test_hand_numbers() -> None:
    """γ = 1, λ = ½; the value after the end is 0.

    δ₃ = 1 − 0.7 = 0.3, δ₂ = 0.7 − 0.6 = 0.1, δ₁ = 0.6 − 0.5 = 0.1;
    A₃ = 0.3, A₂ = 0.1 + 0.15 = 0.25, A₁ = 0.1 + 0.125 = 0.225.
    """
    actual = advantages([0.0, 0.0, 1.0], [0.5, 0.6, 0.7], gamma=1.0, lam=0.5)
    assert actual == pytest.approx([0.225, 0.25, 0.3])


def test_hand_numbers_with_discount() -> None:
    """γ = 0.9, λ = ½: δ₃ = 0.3, δ₂ = 0.63 − 0.6, δ₁ = 0.54 − 0.5; A₂ = 0.03 + 0.45·0.3, A₁ = 0.04 + 0.45·A₂."""
    actual = advantages([0.0, 0.0, 1.0], [0.5, 0.6, 0.7], gamma=0.9, lam=0.5)
    assert actual == pytest.approx([0.11425, 0.165, 0.3])


def test_credit_passes_over_tokens_that_are_not_actions() -> None:
    """The middle token is a tool's: its reward and value count for nothing, γ is charged once.

    A₃ = 1 − 0.7 = 0.3; A₁ = 0.9·0.7 − 0.5 + 0.45·0.3 = 0.265.
    """
    actual = advantages([0.0, 9.0, 1.0], [0.5, 7.0, 0.7], [True, False, True], gamma=0.9, lam=0.5)
    assert actual == pytest.approx([0.265, 0.0, 0.3])


def test_padding_does_not_change_advantages() -> None:
    short = advantages([0.2, 1.0], [0.5, 0.6], gamma=1.0, lam=0.95)
    padded = advantages([0.2, 1.0, 5.0], [0.5, 0.6, -3.0], [True, True, False], gamma=1.0, lam=0.95)
    assert padded == pytest.approx([*short, 0.0])


def test_with_lambda_1_the_returns_are_the_rewards_to_go() -> None:
    values = [0.3, -0.2, 0.9]
    actual = advantages([0.1, 0.2, 1.0], values, gamma=1.0, lam=1.0)
    assert [a + v for a, v in zip(actual, values, strict=True)] == pytest.approx([1.3, 1.2, 1.0])


def plain_loop(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """The definition, `A_t = Σ_l (γλ)^l·δ_{t+l}`, over the actions of one row at a time."""
    actual = torch.zeros_like(rewards)
    for n in range(len(rewards)):
        actions = [t for t in range(rewards.shape[1]) if mask[n, t]]
        deltas = []
        for position, t in enumerate(actions):
            following = float(values[n, actions[position + 1]]) if position + 1 < len(actions) else 0.0
            deltas.append(float(rewards[n, t]) + gamma * following - float(values[n, t]))
        for position, t in enumerate(actions):
            actual[n, t] = sum((gamma * lam) ** k * d for k, d in enumerate(deltas[position:]))
    return actual


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.7), (1.0, 0.0), (1.0, 1.0)])
def test_equals_a_plain_loop_on_random_masks(gamma: float, lam: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 8, 11, generator=generator, dtype=torch.float64)
    mask = torch.rand(8, 11, generator=generator) > 0.3
    actual = gae(rewards, values, mask, gamma=gamma, gae_lambda=lam)
    torch.testing.assert_close(actual, plain_loop(rewards, values, mask, gamma, lam), atol=1e-12, rtol=0)


def test_an_outlier_silences_no_other_group() -> None:
    """0.1 and 0.3: ±0.1 about their mean, whatever stands in another group; over the deviation √0.02 + 1e-4."""
    returns, group = torch.tensor([0.1, 0.3, -1e6, 5.0, 0.1, 0.1, 0.1]), torch.tensor([0, 0, 1, 1, 2, 2, 2])
    actual = group_centered(returns, group, scaled=False)
    assert actual[:2].tolist() == pytest.approx([-0.1, 0.1], rel=1e-5)
    assert actual[4:].tolist() == [0.0, 0.0, 0.0]
    assert group_centered(returns, group, scaled=True)[1].item() == pytest.approx(0.1 / 0.141521, rel=1e-4)


def test_leave_one_out_by_hand() -> None:
    """1, 2, 6 against the means of the others, 4, 3½, 1½; alone 0; alike exactly 0."""
    returns, group = torch.tensor([1.0, 2.0, 6.0, 9.0, 0.1, 0.1, 0.1]), torch.tensor([0, 0, 0, 1, 2, 2, 2])
    actual = leave_one_out(returns, group).tolist()
    assert actual[:3] == pytest.approx([-3.0, -1.5, 4.5])
    assert actual[3:] == [0.0, 0.0, 0.0, 0.0]


def test_whiten_hand_numbers() -> None:
    """1, 2, 3 have mean 2 and variance ⅔: (1 − 2)/√⅔ = −1.224745; what is masked neither counts nor shows."""
    values = torch.tensor([[1.0, 2.0], [3.0, float("nan")]])
    mask = torch.tensor([[True, True], [True, False]])
    actual = whiten(values, mask).flatten().tolist()
    assert actual == pytest.approx([-1.224745, 0.0, 1.224745, 0.0], abs=1e-5)
    kept = whiten(values, mask, keep_mean=True).flatten().tolist()
    assert kept == pytest.approx([0.775255, 2.0, 3.224745, 0.0], abs=1e-5)


def test_whitening_equal_values_gives_zeros() -> None:
    assert whiten(torch.full((2, 2), 3.0), torch.ones(2, 2, dtype=torch.bool)).tolist() == [[0, 0], [0, 0]]


def test_explained_variance_hand_numbers() -> None:
    """Returns 0, 2 (variance 1), values 0, 1: the rest is 0, 1 with variance ¼; so ¾ is explained."""
    mask = torch.tensor([[True, True, False]])
    returns, values = torch.tensor([[0.0, 2.0, 9.0]]), torch.tensor([[0.0, 1.0, -9.0]])
    assert explained_variance(values, returns, mask).item() == pytest.approx(0.75)
    assert explained_variance(returns, returns, mask).item() == 1.0
    assert explained_variance(torch.full_like(returns, 5.0), returns, mask).item() == pytest.approx(0.0)


def test_discounted_returns_by_hand() -> None:
    """γ = ½: 4; 2 + ½·4 = 4; 1 + ½·4 = 3. A tool's token is no action: it neither counts nor discounts."""
    rewards = torch.tensor([[1.0, 2.0, 4.0], [1.0, 99.0, 4.0]])
    mask = torch.tensor([[True, True, True], [True, False, True]])
    assert returns_to_go(rewards, mask, gamma=0.5).tolist() == [[3.0, 4.0, 4.0], [3.0, 0.0, 4.0]]


def test_the_best_of_each_group_by_hand() -> None:
    """Two of (1, 3, 2) and two of (5, 5, 5), where the earlier ones win; one of each with keep=1."""
    returns, group = torch.tensor([1.0, 5.0, 3.0, 5.0, 2.0, 5.0]), torch.tensor([0, 1, 0, 1, 0, 1])
    assert best_of_group(returns, group, 2).tolist() == [False, True, True, True, True, False]
    assert best_of_group(returns, group, 1).tolist() == [False, True, True, False, False, False]


def test_the_best_and_the_worst_of_each_group_by_hand() -> None:
    """Of (1, 3, 2) the second and the first; of three alike none; of (0, 0, −1) the first of the two best."""
    returns = torch.tensor([1.0, 3.0, 2.0, 5.0, 5.0, 5.0, 0.0, 0.0, -1.0])
    actual = best_and_worst(returns, torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]))
    assert actual.tolist() == [-1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0]
