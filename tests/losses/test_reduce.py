"""Reducers: hand numbers, micro-batches that add up, and the bias of dividing by a completion's own length."""

from __future__ import annotations

import pytest
import torch

from gnomon.losses.reduce import (
    masked,
    masked_mean,
    masked_sum,
    masked_variance,
    sequence_mean,
    token_mean,
)

NAN = float("nan")
VALUES = torch.tensor([[1.0, 2.0, 3.0], [4.0, NAN, NAN]])
MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_hand_numbers() -> None:
    """Tokens 1, 2, 3 | 4: sums 6 and 4, mean over tokens 10/4, over completions (2 + 4)/2; variance 5/4."""
    assert masked(VALUES, MASK).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert masked_sum(VALUES, MASK).tolist() == [6.0, 4.0]
    assert masked_mean(VALUES, MASK).item() == 2.5
    assert masked_variance(VALUES, MASK).item() == 1.25
    assert token_mean(VALUES, MASK, tokens=4).item() == 2.5
    assert sequence_mean(VALUES, MASK, rows=2).item() == 3.0


def test_padding_gets_no_gradient_even_when_it_is_not_a_number() -> None:
    values = VALUES.clone().requires_grad_()
    token_mean(values, MASK, tokens=4).backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [[0.25, 0.25, 0.25], [0.25, 0.0, 0.0]]


def test_micro_batches_add_up() -> None:
    for cut in (slice(0, 1), slice(1, 2)):
        assert masked_mean(VALUES[cut], MASK[cut]) != masked_mean(VALUES, MASK)
    halves = (slice(0, 1), slice(1, 2))
    by_token = sum(token_mean(VALUES[h], MASK[h], tokens=4).item() for h in halves)
    by_sequence = sum(sequence_mean(VALUES[h], MASK[h], rows=2).item() for h in halves)
    assert by_token == pytest.approx(2.5)
    assert by_sequence == pytest.approx(3.0)


def test_a_completion_without_counted_tokens_adds_nothing() -> None:
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    assert sequence_mean(VALUES[:1], nothing, rows=2).item() == 0.0


def test_dividing_by_own_length_teaches_to_stop_and_a_constant_divisor_does_not() -> None:
    """Lengths are geometric with stop probability q = 0.1 and every completion is worth the same.

    The stop logit's share of Σ_t ∇log π is 1 − q·L. Weighted by 1/L its mean is E[1/L] − q, and
    E[1/L] = −q·ln q/(1 − q) = 0.25584: a push of 0.15584 (Liu et al. 2025 explain it). Unweighted it is 0.
    """
    q, longest = 0.1, 400
    lengths = torch.arange(1, longest + 1)
    weight = (q * (1 - q) ** (lengths - 1.0)).double()
    mask = torch.arange(longest)[None] < lengths[:, None]
    stop = torch.logit(torch.tensor(q, dtype=torch.float64)).requires_grad_()
    going_on = torch.nn.functional.logsigmoid(-stop).expand(longest, longest)
    ends = (lengths[:, None] - 1) == torch.arange(longest)
    logprobs = torch.where(ends, torch.nn.functional.logsigmoid(stop), going_on)
    own = sum(
        w * sequence_mean(lp[None], m[None], rows=1) for w, lp, m in zip(weight, logprobs, mask, strict=True)
    )
    constant = (weight * masked_sum(logprobs, mask)).sum()
    (push,) = torch.autograd.grad(torch.as_tensor(own), stop, retain_graph=True)
    (none,) = torch.autograd.grad(constant, stop)
    assert push.item() == pytest.approx(0.15584, abs=1e-5)
    assert none.item() == pytest.approx(0.0, abs=1e-6)
