"""KL estimators: hand numbers, their expectations, and the divergence that each follows as a loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gnomon.losses.kl import adapt_coefficient, halve_or_raise, k1, k2, k3, log_ratio

POLICY_LOGITS = torch.tensor([1.3, 0.5, -1.1], dtype=torch.float64)
REFERENCE = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64).log()


def test_hand_numbers() -> None:
    """π = 0.6 and π_ref = 0.3: d = log 2 = 0.693147, d²/2 = 0.240227, ½ − 1 + d = 0.193147."""
    policy, reference = torch.tensor([[0.6]]).log(), torch.tensor([[0.3]]).log()
    assert k1(policy, reference).item() == pytest.approx(0.693147, abs=1e-6)
    assert k2(policy, reference).item() == pytest.approx(0.240227, abs=1e-6)
    assert k3(policy, reference).item() == pytest.approx(0.193147, abs=1e-6)


def test_the_log_ratio_is_limited_so_that_its_exponential_is_finite() -> None:
    policy, reference = torch.tensor([0.0, -500.0]), torch.tensor([-500.0, 0.0])
    assert log_ratio(policy, reference).tolist() == [20.0, -20.0]
    assert k3(policy, reference).isfinite().all()


def test_the_log_ratio_is_taken_in_float32() -> None:
    """In bfloat16 −5.03 and −5.01 are −5.03125 and −5.0: their difference must not be rounded again."""
    a, b = torch.tensor([-5.03125]), torch.tensor([-5.0])
    ratio = log_ratio(a.bfloat16(), b.bfloat16())
    assert ratio.dtype == torch.float32
    assert ratio.item() == -0.03125


def test_k1_and_k3_have_the_kl_as_their_mean_and_k2_has_not() -> None:
    logprobs = POLICY_LOGITS.log_softmax(0)
    exact = float((logprobs.exp() * (logprobs - REFERENCE)).sum())
    for estimator, unbiased in ((k1, True), (k3, True), (k2, False)):
        mean = float((logprobs.exp() * estimator(logprobs, REFERENCE)).sum())
        assert (abs(mean - exact) < 1e-6) == unbiased


def _expected_loss_gradient(estimator: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Σ_y π(y)·∇estimator(y): what a penalty in the loss does on average, samples carrying no gradient."""
    logits = POLICY_LOGITS.clone().requires_grad_()
    logprobs = logits.log_softmax(0)
    (logprobs.detach().exp() * estimator(logprobs, REFERENCE)).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return logits.grad


def _gradient(divergence: Callable[[Tensor], Tensor]) -> Tensor:
    logits = POLICY_LOGITS.clone().requires_grad_()
    divergence(logits.log_softmax(0)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return logits.grad


def test_which_divergence_each_estimator_follows_as_a_loss() -> None:
    """k1 none at all; k2 that of KL(π‖π_ref), as wanted; k3 that of KL(π_ref‖π), another one."""
    reverse = _gradient(lambda lp: (lp.exp() * (lp - REFERENCE)).sum())
    forward = _gradient(lambda lp: (REFERENCE.exp() * (REFERENCE - lp)).sum())
    torch.testing.assert_close(_expected_loss_gradient(k1), torch.zeros_like(reverse), atol=1e-7, rtol=0)
    torch.testing.assert_close(_expected_loss_gradient(k2), reverse, atol=1e-6, rtol=0)
    torch.testing.assert_close(_expected_loss_gradient(k3), forward, atol=1e-6, rtol=0)
    assert (reverse - forward).abs().max() > 0.01


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (12.0, 0.15 * (1 + 0.2 * 0.0064)),  # 100 % above target counts as 20 %: 0.150192
        (6.3, 0.15 * (1 + 0.05 * 0.0064)),  # 5 % above: 0.150048
        (6.0, 0.15),
        (0.0, 0.15 * (1 - 0.2 * 0.0064)),  # 100 % below counts as 20 %: 0.149808
        (-1.0, 0.15 * (1 - 0.2 * 0.0064)),  # a k1 estimate can be negative
    ],
)
def test_adapt_coefficient_hand_numbers(kl: float, expected: float) -> None:
    """β = 0.15, target 6, 64 samples of a horizon of 10,000: n/horizon = 0.0064."""
    assert adapt_coefficient(0.15, kl, 64, target=6.0, horizon=10_000) == pytest.approx(expected, rel=1e-12)


def test_the_price_moves_by_a_fifth_over_a_horizon() -> None:
    price = 1.0
    for _ in range(100):
        price = adapt_coefficient(price, 100.0, 100, target=6.0, horizon=10_000)
    assert price == pytest.approx(math.exp(0.2), rel=1e-3)


@pytest.mark.parametrize(
    ("kl", "expected"), [(9.1, 0.3), (9.0, 0.2), (6.0, 0.2), (3.0, 0.2), (2.9, 0.1), (-1.0, 0.1)]
)
def test_the_simple_rule_hand_numbers(kl: float, expected: float) -> None:
    """β = 0.2, target 6: ×1.5 above 9, ×0.5 below 3, as it is in between and on the borders."""
    assert halve_or_raise(0.2, kl, target=6.0) == pytest.approx(expected)
