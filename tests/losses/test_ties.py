"""Davidson and Rao–Kupper: numbers by hand, limits, gradients, and strengths recovered from simulated votes."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch

from gnomon.losses.preference import bradley_terry, hinge_loss, plackett_luce, smooth_labels, soft_label_loss
from gnomon.losses.ties import davidson, majority_outcome, outcome_shares, rao_kupper

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_davidson_by_hand() -> None:
    # π₁ = 4, π₂ = 1, ν = 1: the denominator is 4 + 1 + 1·√4 = 7
    margin, log_nu = one(math.log(4)), scalar(0.0)
    assert davidson(margin, one(1.0), one(0.0), log_nu).item() == pytest.approx(math.log(7 / 4))
    assert davidson(margin, one(0.0), one(0.0), log_nu).item() == pytest.approx(math.log(7))
    assert davidson(margin, one(0.5), one(1.0), log_nu).item() == pytest.approx(math.log(7 / 2))
    # 5 prefer the first, 2 the second, 3 call it a tie: p = 0.5 + 0.15
    mixed = 0.5 * math.log(7 / 4) + 0.2 * math.log(7) + 0.3 * math.log(7 / 2)
    assert davidson(margin, one(0.65), one(0.3), log_nu).item() == pytest.approx(mixed)


def test_rao_kupper_by_hand() -> None:
    # π₁ = 4, π₂ = 1, θ = 2: P(first) = 4/6, P(second) = 1/9, P(tie) = 3·4/(6·9) = 2/9
    margin, eta = one(math.log(4)), scalar(math.log(2))
    assert rao_kupper(margin, one(1.0), one(0.0), eta).item() == pytest.approx(math.log(6 / 4))
    assert rao_kupper(margin, one(0.0), one(0.0), eta).item() == pytest.approx(math.log(9))
    assert rao_kupper(margin, one(0.5), one(1.0), eta).item() == pytest.approx(math.log(9 / 2))


@pytest.mark.parametrize("loss", [davidson, rao_kupper])
def test_the_three_outcomes_have_probabilities_that_add_up_to_one(loss: Loss) -> None:
    for delta in (-3.0, 0.0, 0.7, 8.0):
        for parameter in (0.01, 0.5, 2.0):
            outcomes = [(1.0, 0.0), (0.0, 0.0), (0.5, 1.0)]
            total = sum(
                math.exp(-loss(one(delta), one(p), one(t), scalar(parameter)).item()) for p, t in outcomes
            )
            assert total == pytest.approx(1.0)


@pytest.mark.parametrize("loss", [davidson, rao_kupper])
def test_both_sides_are_treated_alike(loss: Loss) -> None:
    forward = loss(one(1.3), one(0.7), one(0.2), scalar(0.4))
    assert torch.allclose(forward, loss(one(-1.3), one(0.3), one(0.2), scalar(0.4)))


def test_without_ties_both_become_bradley_terry() -> None:
    s, p = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    plain, none = bradley_terry(s, torch.zeros_like(s), p), torch.zeros_like(p)
    assert torch.allclose(davidson(s, p, none, scalar(-60.0)), plain)
    assert torch.allclose(rao_kupper(s, p, none, scalar(1e-12)), plain, atol=1e-9)


@pytest.mark.parametrize("loss", [davidson, rao_kupper])
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    margin = torch.tensor([-2.0, 0.1, 3.0], dtype=torch.float64, requires_grad=True)
    parameter = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    p, t = (torch.tensor(v, dtype=torch.float64) for v in ([0.9, 0.5, 0.4], [0.1, 0.8, 0.0]))
    assert torch.autograd.gradcheck(lambda m, x: loss(m, p, t, x), (margin, parameter))


def test_the_majority_of_three_outcomes() -> None:
    p, t = torch.tensor([0.7, 0.55, 0.5, 0.2]), torch.tensor([0.2, 0.6, 0.2, 0.0])
    probability, tie = majority_outcome(p, t)
    assert probability.tolist() == [1.0, 0.5, 0.5, 0.0]
    assert tie.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert torch.allclose(outcome_shares(p, t).sum(-1), torch.ones(4))


STRENGTHS = torch.tensor([0.0, 0.5, 1.0, 1.8, -1.2], dtype=torch.float64)


def simulated(loss: Loss, parameter: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows, columns, probabilities and ties of 20,000 votes a pair, drawn from the model itself."""
    generator = torch.Generator().manual_seed(7)
    first, second = torch.triu_indices(5, 5, offset=1)
    margin = STRENGTHS[first] - STRENGTHS[second]
    chances = torch.stack(
        [
            torch.exp(-loss(margin, torch.full_like(margin, p), torch.full_like(margin, t), scalar(parameter)))
            for p, t in ((1.0, 0.0), (0.0, 0.0), (0.5, 1.0))
        ],
        dim=-1,
    )
    votes = torch.multinomial(chances, 20_000, replacement=True, generator=generator)
    shares = torch.stack([(votes == n).double().mean(-1) for n in range(3)], dim=-1)
    return first, second, shares[:, 0] + shares[:, 2] / 2, shares[:, 2]


def minimize(loss: Callable[[], torch.Tensor], parameters: list[torch.Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("loss", "parameter"), [(davidson, -0.4), (rao_kupper, 0.5)])
def test_strengths_and_the_tie_parameter_are_recovered_from_votes(loss: Loss, parameter: float) -> None:
    first, second, p, t = simulated(loss, parameter)
    scores = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    raw = torch.zeros([], dtype=torch.float64, requires_grad=True)
    positive: Callable[[torch.Tensor], torch.Tensor] = (
        torch.nn.functional.softplus if loss is rao_kupper else lambda x: x
    )
    minimize(lambda: loss(scores[first] - scores[second], p, t, positive(raw)).mean(), [scores, raw])
    assert torch.allclose(scores - scores[0], STRENGTHS, atol=0.05)
    assert positive(raw).item() == pytest.approx(parameter, abs=0.03)


def test_a_tie_that_is_read_as_half_of_a_win_loses_the_strengths() -> None:
    """Bradley–Terry on the same votes shrinks them: ties are evidence of nearness that it cannot express."""
    first, second, p, _ = simulated(rao_kupper, 1.0)
    scores = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    minimize(lambda: bradley_terry(scores[first], scores[second], p).mean(), [scores])
    assert (scores[3] - scores[4]).item() < 0.85 * 3.0


def test_label_noise_that_is_known_is_removed_by_smoothing_the_model() -> None:
    """Raters err in 20 %: robust smoothing recovers the strengths, the plain loss shrinks them."""
    first, second = torch.triu_indices(5, 5, offset=1)
    clean = torch.sigmoid(STRENGTHS[first] - STRENGTHS[second])
    noisy = smooth_labels(clean, 0.2, robust=False)
    for labels, wanted in ((smooth_labels(noisy, 0.2, robust=True), True), (noisy, False)):
        scores = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        minimize(partial(bradley_terry_mean, scores, first, second, labels), [scores])
        assert torch.allclose(scores - scores[0], STRENGTHS, atol=0.02) is wanted


def bradley_terry_mean(
    scores: torch.Tensor, first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    return bradley_terry(scores[first], scores[second], labels).mean()


def test_hinge_by_hand() -> None:
    # margin 0.4: 0.75·max(0, 1 − 0.4) + 0.25·max(0, 1 + 0.4)
    assert soft_label_loss(hinge_loss, one(0.4), one(0.75)).item() == pytest.approx(0.75 * 0.6 + 0.25 * 1.4)


def test_plackett_luce_recovers_strengths_from_simulated_rankings() -> None:
    generator = torch.Generator().manual_seed(3)
    noise = -torch.log(-torch.log(torch.rand(4000, 5, generator=generator, dtype=torch.float64)))
    orders = (STRENGTHS + noise).argsort(dim=-1, descending=True)  # Gumbel noise gives Plackett–Luce
    scores = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    minimize(lambda: torch.vmap(plackett_luce)(scores[orders]).mean(), [scores])
    assert torch.allclose(scores - scores[0], STRENGTHS, atol=0.12)
