"""Probabilities beside choices, by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from gnomon.evaluation.examination.cases import PairCase
from gnomon.evaluation.examination.measures.probabilities import probability_figures, score_distributions, sigmoid
from gnomon.evaluation.reward_models import calibration, equal_mass_calibration
from gnomon.stats.calibration import Calibration

PAIR = PairCase(0, 1, 1.0, True, (0, 0))
LOG3 = log(3)  # σ(log 3) = 3/4


def pairs_of(count: int) -> list[PairCase]:
    return [replace(PAIR, first=2 * n, second=2 * n + 1) for n in range(count)]


def test_figures_by_hand() -> None:
    """Four pairs with p = 3/4, of which one is wrong: p is the share. NLL (3 log 4/3 + log 4)/4, Brier 3/16.

    In both orders there are p = 3/4 with 3 of 4, and p = 1/4 with 1 of 4.
    """
    scores = np.array([LOG3, 0, LOG3, 0, LOG3, 0, 0, LOG3])
    figures = probability_figures(pairs_of(4), scores, 10)
    assert figures.ece == pytest.approx(0, abs=1e-12)
    assert figures.ece_equal_mass == pytest.approx(0, abs=1e-12)
    assert figures.nll == pytest.approx((3 * log(4 / 3) + log(4)) / 4)
    assert figures.brier == pytest.approx((3 / 16 + 9 / 16) / 4)
    assert [(round(b.predicted or 0, 9), b.observed, b.count) for b in figures.bins] == [
        (0.25, 0.25, 4),
        (0.75, 0.75, 4),
    ]


def test_overconfidence_by_hand() -> None:
    """Two pairs with p = 3/4, one right: |3/4 - 1/2| in both orders."""
    figures = probability_figures(pairs_of(2), np.array([LOG3, 0, 0, LOG3]), 10)
    assert figures.ece == figures.ece_equal_mass == pytest.approx(0.25)


def test_shares_of_votes_are_targets() -> None:
    """p = 3/4 beside three of four votes: ECE 0, Brier 0, NLL the entropy. An undecided pair counts too."""
    soft = [replace(PAIR, probability=0.75), replace(PAIR, first=2, second=3, probability=0.5, decided=False)]
    figures = probability_figures(soft, np.array([LOG3, 0, 1, 1]), 10)
    assert (figures.pairs, figures.one_outcome) == (2, "right")
    assert figures.brier == pytest.approx(0, abs=1e-12)
    assert figures.nll == pytest.approx((-0.75 * log(0.75) - 0.25 * log(0.25) + log(2)) / 2)


@pytest.mark.parametrize(("scores", "outcome"), [([2, 1, 5, 0], "right"), ([1, 2, 0, 5], "wrong")])
def test_calibration_needs_both_outcomes(scores: list[float], outcome: str) -> None:
    figures = probability_figures(pairs_of(2), np.array(scores, dtype=float), 10)
    assert (figures.one_outcome, figures.ece, figures.ece_equal_mass, figures.bins) == (outcome, None, None, [])
    assert figures.nll is not None
    assert probability_figures(pairs_of(2), np.array([2.0, 1, 1, 1]), 10).one_outcome == "", "a tie is not right"


def test_a_saved_calibration_gives_the_probability() -> None:
    """Differences of 2 log 3 at T = 2 are p = 3/4, as in the case by hand. An isotonic p of 0 has no NLL."""
    scores = 2 * np.array([LOG3, 0, LOG3, 0, LOG3, 0, 0, LOG3])
    figures = probability_figures(pairs_of(4), scores, 10, Calibration("temperature", 10, temperature=2.0))
    assert figures.calibration == "temperature"
    assert figures.ece == pytest.approx(0, abs=1e-12)
    assert figures.nll == pytest.approx((3 * log(4 / 3) + log(4)) / 4)
    assert figures.brier == pytest.approx(3 / 16)
    steps = Calibration("isotonic", 10, margins=(-1.0, 1.0), probabilities=(0.0, 1.0))
    assert probability_figures(pairs_of(4), scores, 10, steps).nll is None
    assert probability_figures(pairs_of(2), np.array([0.5, 0, 0, 0.5]), 10, steps).ece == pytest.approx(0.25)


def test_pairs_without_scores() -> None:
    assert probability_figures(pairs_of(1), np.array([np.nan, 1]), 10).pairs == 0
    assert score_distributions(pairs_of(1), np.array([np.nan, 1])).preferred.mean is None


def test_extreme_scores_are_finite() -> None:
    figures = probability_figures(pairs_of(2), np.array([1e4, 0, 0, 1e4]), 10)
    assert figures.nll == pytest.approx(5000)
    assert sigmoid(np.array([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]


def test_equal_mass_bins_hold_as_many_pairs() -> None:
    """0.1 to 0.8 in four bins of two; bins of equal width begin at 0, 1/4, 1/2 and 3/4."""
    predicted = np.arange(1, 9) / 10
    result = equal_mass_calibration(predicted, np.zeros(8), 4)
    assert [row.count for row in result.bins] == [2, 2, 2, 2]
    assert result.ece == pytest.approx(0.45)
    assert [row.count for row in calibration(predicted, np.zeros(8), 4).bins] == [2, 2, 3, 1]


def test_equal_predictions_share_a_bin() -> None:
    """Outcomes 0 and 1 of one prediction, in any order: bins that part them would show an error of 1/2."""
    result = equal_mass_calibration([0.5] * 6, [0, 0, 0, 1, 1, 1], 3)
    assert (result.ece, len(result.bins)) == (0, 1)
    assert equal_mass_calibration([], [], 3).ece is None


def test_distributions_by_hand() -> None:
    """Preferred 1, 3, others 0, 4: means 2 and 2, differences 1 and -1."""
    result = score_distributions(pairs_of(2), np.array([1.0, 0, 3, 4]))
    assert (result.preferred.mean, result.other.mean, result.margin.mean) == (2, 2, 0)
    assert result.preferred.sd == pytest.approx(2**0.5)
    assert (result.preferred.q50, result.other.q25) == (2, 1)
    assert sum(n or 0 for n in result.preferred_counts) == sum(n or 0 for n in result.other_counts) == 2
    same = score_distributions(pairs_of(1), np.array([1.0, 1.0]))
    assert same.edges[0] == 0.5, "equal scores have a histogram too"
    assert same.preferred.sd is None
