"""Clipped losses: hand numbers, and where the gradient stops."""

from __future__ import annotations

import math

import pytest
import torch

from gnomon.losses.policy_gradient import (
    clipped_policy_loss,
    clipped_share,
    clipped_value_loss,
    truncated_weight,
)

CASES = [
    # ratio, advantage, loss, gradient for log π
    (1.0, 2.0, -2.0, -2.0),  # on policy: −A
    (1.1, 2.0, -2.2, -2.2),  # inside the clip: −ρ·A
    (1.5, 1.0, -1.2, 0.0),  # risen enough: clipped at 1.2
    (1.5, -1.0, 1.5, 1.5),  # risen though bad: never clipped
    (0.5, 1.0, -0.5, -0.5),  # fallen though good: never clipped
    (0.5, -1.0, 0.8, 0.0),  # fallen enough: clipped at 0.8
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "gradient"), CASES)
def test_policy_loss_hand_numbers(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    """−min(ρ·A, clip(ρ, 0.8, 1.2)·A), and dρ/dlog π = ρ."""
    old = torch.tensor([[-1.3]])
    logprobs = (old + math.log(ratio)).requires_grad_()
    advantages = torch.tensor([[advantage]])
    clipped = clipped_policy_loss(logprobs - old, advantages, clip_low=0.2, clip_high=0.2)
    clipped.sum().backward()  # type: ignore[no-untyped-call]
    assert clipped.item() == pytest.approx(loss, rel=1e-5)
    assert logprobs.grad is not None
    assert logprobs.grad.item() == pytest.approx(gradient, rel=1e-5)
    share = clipped_share(logprobs.detach() - old, advantages, clip_low=0.2, clip_high=0.2)
    assert share.item() == float(gradient == 0.0)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (4.0, -1.0, 3.0, 0.0),  # cost 4 without it: held at c·|A| = 3, no gradient
        (4.0, -2.0, 6.0, 0.0),
        (2.5, -1.0, 2.5, 2.5),  # below the bound
        (0.5, -1.0, 0.8, 0.0),  # PPO's own clip
        (4.0, 1.0, -1.2, 0.0),  # good ones have no such bound
    ],
)
def test_dual_clip_hand_numbers(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    """c = 3: a bad token costs at most 3·|A| (Ye et al. 2020, eq. 5)."""
    logprobs = torch.tensor([[math.log(ratio)]], requires_grad=True)
    clipped = clipped_policy_loss(
        logprobs, torch.tensor([[advantage]]), clip_low=0.2, clip_high=0.2, dual_clip=3.0
    )
    clipped.sum().backward()  # type: ignore[no-untyped-call]
    assert clipped.item() == pytest.approx(loss, rel=1e-5)
    assert logprobs.grad is not None
    assert logprobs.grad.item() == pytest.approx(gradient, rel=1e-5)


def test_truncated_weight_hand_numbers() -> None:
    """Ratios 3, ½ and e^30: cut at 2, kept, limited; constants for the gradient."""
    old = torch.tensor([[math.log(0.6), math.log(0.2), 0.0]], requires_grad=True)
    sampled = torch.tensor([[math.log(0.2), math.log(0.4), -30.0]])
    clipped = truncated_weight(old, sampled, cap=2.0)
    assert clipped[0].tolist() == pytest.approx([2.0, 0.5, 2.0])
    assert not clipped.requires_grad
    assert truncated_weight(old, sampled, cap=1e9)[0].tolist() == pytest.approx(
        [3.0, 0.5, math.exp(20)], rel=1e-4
    )


def test_the_two_sides_of_the_clip_are_separate() -> None:
    """ρ = 1.25, A = 1 earns 1.25 under clip_high = 0.28; ρ = 0.75, A = −1 loses 0.9 under clip_low = 0.1."""
    old = torch.zeros(1, 2)
    logprobs, advantages = torch.tensor([[1.25, 0.75]]).log(), torch.tensor([[1.0, -1.0]])
    clipped = clipped_policy_loss(logprobs - old, advantages, clip_low=0.1, clip_high=0.28)
    assert clipped[0].tolist() == pytest.approx([-1.25, 0.9], rel=1e-5)


@pytest.mark.parametrize(
    ("value", "target", "loss", "gradient"),
    [
        (0.6, 2.0, 0.98, -1.4),  # moved 0.1, inside the clip: ½·1.4²
        (1.0, 2.0, 0.845, 0.0),  # moved 0.5 towards the return: counts as 0.7, ½·1.3², no gradient
        (1.0, 0.0, 0.5, 1.0),  # moved away from it: ½·1², pulled back
        (0.0, 0.2, 0.02, -0.2),  # overshot below: unclipped ½·0.2² against clipped ½·0.1²
    ],
)
def test_value_loss_hand_numbers(value: float, target: float, loss: float, gradient: float) -> None:
    """The value at sampling time was 0.5 and the clip is 0.2."""
    values = torch.tensor([[value]], requires_grad=True)
    clipped = clipped_value_loss(values, torch.tensor([[0.5]]), torch.tensor([[target]]), clip=0.2)
    clipped.sum().backward()  # type: ignore[no-untyped-call]
    assert clipped.item() == pytest.approx(loss, rel=1e-5)
    assert values.grad is not None
    assert values.grad.item() == pytest.approx(gradient, rel=1e-5)


def test_a_token_without_an_advantage_has_no_gradient_that_a_clip_could_stop() -> None:
    far = torch.log(torch.tensor([[0.5, 2.0, 0.5, 2.0]]))
    advantages = torch.tensor([[0.0, 0.0, -1.0, 1.0]])
    assert clipped_share(far, advantages, clip_low=0.2, clip_high=0.2).tolist() == [[0.0, 0.0, 1.0, 1.0]]
