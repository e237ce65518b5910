"""Rank agreement of scores with rankings and ratings, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.evaluation.examination.cases import ListCase
from gnomon.evaluation.examination.measures.ranks import rank_figures
from gnomon.stats.rank_agreement import kendall_tau


def test_figures_by_hand() -> None:
    """First list: scores 3, 1, 2 for ranks 1, 2, 3: two of three pairs agree, τ = 1/3; ρ = 1 - 6·2/24 = 1/2.

    Second list: 5, 4 in order, τ = ρ = 1. Together 3 of 4 pairs agree: τ = (3 - 1)/4.
    """
    lists = [ListCase((0, 1, 2), (0, -1, -2), False, 0), ListCase((3, 4), (0, -1), False, 1)]
    figures = rank_figures(lists, np.array([3.0, 1, 2, 5, 4]), 0, 200)
    assert figures is not None
    assert (figures.lists, figures.undefined, figures.excluded) == (2, 0, 0)
    assert figures.tau.value == pytest.approx(2 / 3)
    assert figures.spearman.value == pytest.approx(0.75)
    assert figures.tau_pooled == pytest.approx(0.5)
    assert figures.spearman_all is None, "ranks of different prompts cannot be compared"


def test_ties_count_as_in_tau_b() -> None:
    """Scores 1, 1, 2 for values 3, 2, 1: of three pairs one is tied, two disagree: τ-b = -2/√(2·3)."""
    figures = rank_figures([ListCase((0, 1, 2), (3, 2, 1), True, 0)], np.array([1.0, 1, 2]), 0, 200)
    assert figures is not None
    assert figures.tau.value == figures.tau_pooled == pytest.approx(-2 / 6**0.5)
    assert figures.spearman_all == pytest.approx(-(0.75**0.5))


def test_the_pooled_tau_is_that_of_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(5, size=40).astype(float)
    lists = [
        ListCase(tuple(range(n, n + 8)), tuple(rng.integers(4, size=8).tolist()), True, n)
        for n in range(0, 40, 8)
    ]
    agree = one = other = 0.0
    for some in lists:
        for i in range(8):
            for j in range(i):
                a, b = (
                    np.sign(scores[some.texts[i]] - scores[some.texts[j]]),
                    np.sign(some.values[i] - some.values[j]),
                )
                agree, one, other = agree + a * b, one + abs(a), other + abs(b)
    figures = rank_figures(lists, scores, 0, 200)
    assert figures is not None
    assert figures.tau_pooled == pytest.approx(agree / np.sqrt(one * other))


def test_lists_that_do_not_vary_or_have_no_score() -> None:
    lists = [
        ListCase((0, 1), (1, 1), True, 0),
        ListCase((1, 2), (0, -1), False, 1),
        ListCase((3,), (4,), True, 2),
    ]
    figures = rank_figures(lists, np.array([1.0, 2, np.nan, 0]), 0, 200)
    assert figures is not None
    assert (figures.lists, figures.undefined, figures.excluded) == (1, 1, 1)
    assert (figures.tau.value, figures.tau_pooled) == (None, None)
    assert rank_figures([], np.zeros(3), 0, 200) is None


def test_all_rated_texts_count_over_all() -> None:
    """Single texts of their prompts too: scores in the order of the ratings."""
    lists = [ListCase((n,), (float(n),), True, n) for n in range(5)]
    figures = rank_figures(lists, np.arange(5.0), 0, 200)
    assert figures is not None
    assert figures.lists == 0
    assert figures.spearman_all == pytest.approx(1)
    assert kendall_tau([1], [1]) is None
