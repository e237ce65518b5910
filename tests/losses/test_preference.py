"""Losses over pairs and rankings: hand numbers, ties, margins, noise, and strengths that are recovered."""

from __future__ import annotations

import itertools

import pytest
import torch

from gnomon.losses.preference import (
    bradley_terry,
    hinge_loss,
    ipo_loss,
    log_odds,
    logsigmoid_loss,
    majority,
    pair_values,
    plackett_luce,
    smooth_labels,
    soft_label_loss,
)


def loss(chosen: float, rejected: float, probability: float, margin: float | None = None) -> float:
    first, second, share = (torch.tensor([value]) for value in (chosen, rejected, probability))
    return bradley_terry(first, second, share, None if margin is None else torch.tensor([margin])).item()


def test_hand_numbers() -> None:
    """−log σ(1) = 0.313262 and −log σ(−1) = 1.313262; three raters of four pay ¾ of one and ¼ of the other."""
    assert loss(3.0, 2.0, 1.0) == pytest.approx(0.313262, abs=1e-6)
    assert loss(2.0, 3.0, 1.0) == pytest.approx(1.313262, abs=1e-6)
    assert loss(3.0, 2.0, 0.75) == pytest.approx(0.563262, abs=1e-6)


def test_a_margin_is_taken_off_the_lead() -> None:
    """−log σ(1 − ½) = 0.474077."""
    assert loss(3.0, 2.0, 1.0, margin=0.5) == pytest.approx(0.474077, abs=1e-6)


def test_a_tie_costs_least_at_equal_scores() -> None:
    """At equal scores log 2 = 0.693147; a lead of 1 either way costs (0.313262 + 1.313262)/2 = 0.813262."""
    assert loss(1.0, 1.0, 0.5) == pytest.approx(0.693147, abs=1e-6)
    assert loss(1.0, 0.0, 0.5) == loss(0.0, 1.0, 0.5) == pytest.approx(0.813262, abs=1e-6)


def test_a_hopeless_pair_is_finite() -> None:
    assert loss(-500.0, 500.0, 1.0) == pytest.approx(1000.0)


@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_recovers_known_strengths_up_to_a_constant(margin: float) -> None:
    """The optimum has s_i − s_j = margin + logit p: strengths 0, 1, 2.5, −0.8 come back, calibrated."""
    strengths = torch.tensor([0.0, 1.0, 2.5, -0.8], dtype=torch.float64)
    pairs = torch.tensor(list(itertools.combinations(range(4), 2)))
    lead = strengths[pairs[:, 0]] - strengths[pairs[:, 1]]
    probability = torch.sigmoid(lead - margin)
    scores = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        margins = torch.full_like(lead, margin)
        total = bradley_terry(scores[pairs[:, 0]], scores[pairs[:, 1]], probability, margins).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    result = scores.detach() - scores.detach()[0]
    torch.testing.assert_close(result, strengths, atol=1e-4, rtol=0)


def test_costs_by_hand() -> None:
    """At margins 2 and −1; τ = ¼ has its optimum at a margin of 2."""
    leads = torch.tensor([2.0, -1.0])
    assert logsigmoid_loss(leads).tolist() == pytest.approx([0.126928, 1.313262], abs=1e-6)
    assert hinge_loss(leads).tolist() == [0.0, 2.0]
    assert ipo_loss(leads, 0.25).tolist() == [0.0, 9.0]
    assert soft_label_loss(hinge_loss, leads, torch.tensor([0.75, 0.5])).tolist() == [0.75, 1.0]  # ¼·3, ½·2


def test_noise_in_labels_by_hand() -> None:
    """ε = 0.1: 0.9·0.9 + 0.1·0.1 = 0.82; and back, (0.82 − 0.1)/0.8 = 0.9. A certain label becomes 1.125."""
    shares = torch.tensor([0.9, 0.5], dtype=torch.float64)
    noisy = smooth_labels(shares, 0.1, robust=False)
    assert noisy.tolist() == pytest.approx([0.82, 0.5])
    assert smooth_labels(noisy, 0.1, robust=True).tolist() == pytest.approx([0.9, 0.5])
    assert smooth_labels(torch.tensor([1.0]), 0.1, robust=True).item() == pytest.approx(1.125)


def test_the_majority_of_a_tie_is_a_tie() -> None:
    assert majority(torch.tensor([1.0, 0.6, 0.5, 0.2, 0.0])).tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_log_odds_by_hand() -> None:
    """P = ½: 0; P = 0.2: log ¼. A token that is certain, or impossible, stays finite, gradient included."""
    odds = log_odds(torch.tensor([0.5, 0.2]).log())
    assert odds.tolist() == pytest.approx([0.0, -1.386294], abs=1e-6)
    extreme = torch.tensor([0.0, -200.0], requires_grad=True)
    log_odds(extreme).sum().backward()  # type: ignore[no-untyped-call]
    assert log_odds(extreme).isfinite().all()
    assert extreme.grad is not None
    assert extreme.grad.isfinite().all()


VALUES = torch.tensor([[1.0, 2.0, 4.0, 8.0], [3.0, float("nan"), 5.0, float("nan")]])
MASK = torch.tensor([[True, True, True, True], [True, False, True, False]])
ROWS, OTHERS = torch.tensor([0, 1]), torch.tensor([1, 0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [15.0, 8.0]),
        ({"average": True}, [3.75, 4.0]),
        ({"ld_alpha": 0.5}, [1 + 2 + 0.5 * (4 + 8), 8.0]),
        ({"ld_alpha": 0.5, "average": True}, [9 / 3, 4.0]),
        ({"ld_alpha": 0.0}, [3.0, 8.0]),
    ],
)
def test_values_of_a_pairs_sides_by_hand(settings: dict[str, float], expected: list[float]) -> None:
    """Four tokens against two that count, the second of them standing third: only the longer one has a tail."""
    result = pair_values(VALUES, MASK, ROWS, OTHERS, **settings)  # type: ignore[arg-type]
    assert result.tolist() == pytest.approx(expected)


def test_plackett_luce_by_hand() -> None:
    """Scores log 3, log 2, log 1: −log(3/6 · 2/3) = log 3; of two it is Bradley–Terry; large ones are safe."""
    assert plackett_luce(torch.tensor([3.0, 2.0, 1.0]).log()).item() == pytest.approx(1.098612, abs=1e-6)
    assert plackett_luce(torch.tensor([2.0, 1.0])).item() == pytest.approx(loss(2.0, 1.0, 1.0), abs=1e-6)
    assert plackett_luce(torch.tensor([-500.0, 500.0])).item() == pytest.approx(1000.0)


def test_plackett_luce_probabilities_add_up_to_one() -> None:
    scores = torch.tensor([0.3, -1.2, 2.0, 0.9], dtype=torch.float64)
    total = sum(float((-plackett_luce(scores[list(o)])).exp()) for o in itertools.permutations(range(4)))
    assert total == pytest.approx(1.0)
