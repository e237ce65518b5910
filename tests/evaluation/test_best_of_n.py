"""The KL of best-of-n: bound and estimate against enumeration."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import ArrayLike
from published import FIGURES

from gnomon.core.errors import ConfigError, DataError
from gnomon.evaluation.best_of_n import best_rows, kl_bound, kl_estimate


def kl_exact(n: int, chances: ArrayLike, rewards: ArrayLike) -> float:
    """The exact KL if all answers are known. Of equal rewards the first draw wins, so they are one answer."""
    chances = np.asarray(chances, dtype=np.float64)
    _, level = np.unique(np.asarray(rewards), return_inverse=True)
    mass = np.bincount(level, chances)  # [rewards], from the worst up
    up_to = np.minimum(np.cumsum(mass), 1.0)
    up_to[-1] = 1.0
    best = np.diff(up_to**n, prepend=0.0)
    there = best > 0
    return float((best[there] * np.log(best[there] / mass[there])).sum())


def test_the_bound_matches_published_values() -> None:
    for n, value in FIGURES["bon_kl"].items():
        assert kl_bound(int(n)) == pytest.approx(value, abs=5e-5)


def test_exact_by_enumeration() -> None:
    """All series of three draws of four answers, two of them with equal rewards; the first of the best wins."""
    chances, rewards = [0.4, 0.3, 0.2, 0.1], [0.0, 2.0, 2.0, 1.0]
    best = np.zeros(4)
    for draws in product(range(4), repeat=3):
        best[max(draws, key=lambda at: rewards[at])] += math.prod(chances[at] for at in draws)
    expected = float((best * np.log(best / chances)).sum())
    assert kl_exact(3, chances, rewards) == pytest.approx(expected)


def test_the_kl_is_at_most_the_negative_log_probability() -> None:
    """Two equally likely answers; 3 of 4 pairs have the better: 3/4 log(3/2) + 1/4 log(1/2), at most log 2."""
    assert kl_exact(2, [0.5, 0.5], [0, 1]) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert kl_exact(1000, [0.5, 0.5], [0, 1]) == pytest.approx(math.log(2))
    assert kl_bound(1000) > 5.9
    assert kl_exact(8, [0.5, 0.5], [1, 1]) == pytest.approx(0.0, abs=1e-12)


def test_the_bound_is_reached_where_nothing_repeats() -> None:
    many = 20_000
    assert kl_exact(8, np.full(many, 1 / many), np.arange(many)) == pytest.approx(kl_bound(8), abs=1e-3)


@pytest.mark.parametrize("n", [1, 2, 16, 300])
@pytest.mark.parametrize("top", [1.0, 0.9, 0.3, 0.01])
def test_the_estimate_is_exact_where_only_the_best_repeats(n: int, top: float) -> None:
    """One best answer of the probability `top`, and the rest spread over very many others."""
    rest = 400_000
    chances = np.append(np.full(rest, (1 - top) / rest), top)
    exact = kl_exact(n, chances, np.arange(rest + 1))
    assert kl_estimate(n, [math.log(top)]) == pytest.approx(exact, abs=2e-3)


def test_the_estimate_at_its_ends() -> None:
    """A certain text has no KL; an unlikely one, as texts are, reaches the bound."""
    assert kl_estimate(16, [0.0]) == 0.0
    assert kl_estimate(16, [-900.0, -5000.0]) == pytest.approx(kl_bound(16))
    assert kl_estimate(16, [-40.0]) == pytest.approx(kl_bound(16))
    assert kl_estimate(2, [0.0, -900.0]) == pytest.approx(kl_bound(2) / 2)
    assert kl_estimate(4, []) is None


def test_the_estimate_on_draws_is_closer_than_the_bound() -> None:
    """Ten answers, mean over the winners of 4,000 series of 16: much closer to the KL than to the bound."""
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(10))
    rewards = rng.normal(size=10)
    draws = rng.choice(10, size=(4000, 16), p=chances)
    winners = draws[np.arange(4000), rewards[draws].argmax(axis=1)]
    exact, estimate = kl_exact(16, chances, rewards), kl_estimate(16, np.log(chances[winners]))
    assert estimate is not None
    assert abs(estimate - exact) < 0.25 * (kl_bound(16) - exact)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 100), weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=8), seed=st.integers(0, 99)
)
def test_the_estimate_is_never_above_the_bound(n: int, weights: list[float], seed: int) -> None:
    chances = np.array(weights) / sum(weights)
    exact = kl_exact(n, chances, np.random.default_rng(seed).integers(4, size=len(weights)))
    assert -1e-12 <= exact <= kl_bound(n) + 1e-9
    estimate = kl_estimate(n, np.minimum(np.log(chances), 0.0))
    assert estimate is not None
    assert -1e-12 <= estimate <= kl_bound(n) + 1e-9


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="best of 0"):
        kl_bound(0)
    with pytest.raises(DataError, match="above 0"):
        kl_estimate(2, [0.1])
    with pytest.raises(DataError, match="not a number"):
        kl_estimate(2, [float("nan")])


def test_rows_without_a_score_lose_and_ties_go_to_the_first() -> None:
    """Prompts may be interleaved; of b's three completions only two make a draw."""
    prompts = ["a", "b", "a", "b", "a", "a", "b"]
    assert best_rows(prompts, [None, 1.0, -5.0, 1.0, math.nan, None, 9.0], 2) == [2, 4, 1]
