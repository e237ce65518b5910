"""Bradley–Terry: hand numbers, ties, margins, and strengths recovered from exact probabilities."""

from __future__ import annotations

import itertools

import pytest
import torch

from gnomon.losses.preference import bradley_terry


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
    optimiser = torch.optim.LBFGS([scores], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        margins = torch.full_like(lead, margin)
        total = bradley_terry(scores[pairs[:, 0]], scores[pairs[:, 1]], probability, margins).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    found = scores.detach() - scores.detach()[0]
    torch.testing.assert_close(found, strengths, atol=1e-4, rtol=0)
