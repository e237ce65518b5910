"""Calibration of probabilities and stacking weights, against optima that are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.evaluation.stacking import stacking_weights
from gnomon.stats.calibration import Calibration, calibration_of, fit_calibration


def test_the_temperature_of_overconfident_scores_by_hand() -> None:
    """Every margin is ±2 and the likelier side wins 3 times of 4: σ(2/T) = ¾, so T = 2 / log 3."""
    margin = np.array([2.0, -2.0] * 8)
    observed = np.where(margin > 0, 0.75, 0.25)
    fitted = fit_calibration("temperature", margin, observed)
    assert fitted.temperature == pytest.approx(2 / math.log(3), rel=1e-9)
    np.testing.assert_allclose(fitted.probability([2.0, 0.0, -2.0]), [0.75, 0.5, 0.25])


def test_calibrated_scores_have_temperature_1() -> None:
    margin = np.random.default_rng(0).normal(size=50)
    assert fit_calibration("temperature", margin, 1 / (1 + np.exp(-margin))).temperature == pytest.approx(1.0)


def test_the_isotonic_map_by_hand() -> None:
    """Both orders of each pair: at ±1 people prefer the likelier text in ½ of the pairs, at ±3 in all of 6.

    Margin 1: outcomes 1, 0, 1, 0 → ½ at 1 and at −1. Margin 3 → 1, and −3 → 0. At 2 half-way.
    """
    margin = [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, -3.0, -3.0, -3.0]
    observed = [1, 0, 1, 0, 1, 1, 1, 0, 0, 0]
    fitted = fit_calibration("isotonic", margin, observed)
    np.testing.assert_allclose(fitted.probability([-9, -3, -1, 0, 1, 2, 3, 9]), [0, 0, 0.5, 0.5, 0.5, 0.75, 1, 1])
    assert np.isnan(fitted.probability([math.nan])).all()


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_exchanging_the_completions_exchanges_the_probabilities(method) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    margin = rng.normal(size=200)
    fitted = fit_calibration(method, margin, (rng.random(200) < 1 / (1 + np.exp(-2 * margin))).astype(float))
    points = np.linspace(-4, 4, 81)
    np.testing.assert_allclose(fitted.probability(points), 1 - fitted.probability(-points), atol=1e-12)
    assert (np.diff(fitted.probability(points)) >= -1e-12).all()
    assert calibration_of({**vars(fitted), "margins": list(fitted.margins)}) == fitted


@pytest.mark.parametrize(
    ("margin", "observed", "message"),
    [
        ([1.0] * 9, [1.0, 0.0, 1.0] * 3, "9 held-out pairs, fewer than 10"),
        ([1.0, -1.0] * 10, [1.0] * 20, "all 20 held-out pairs have the same outcome, 1"),
        ([1.0, -1.0] * 10, [0.5] * 20, "all 20 held-out pairs have the same outcome, 0.5"),
        ([1.0, -1.0] * 10, [1.0, 0.0] * 10, "order the 20 held-out pairs exactly as all people do"),
        ([1.0, -1.0] * 10, [0.0, 1.0] * 10, "order the 20 held-out pairs no better than chance"),
        ([math.nan] * 20, [1.0, 0.0] * 10, "not finite"),
        ([1.0] * 20, [2.0] * 20, "outside 0 to 1"),
        ([1.0] * 20, [1.0] * 19, "must be paired"),
    ],
)
def test_pairs_that_no_calibration_fits_are_refused(margin, observed, message) -> None:  # type: ignore[no-untyped-def]
    for method in ("temperature", "isotonic"):
        with pytest.raises(DataError, match=message):
            fit_calibration(method, margin, observed)


@pytest.mark.parametrize("content", [{}, None, {"method": "temperature", "pairs": 9, "temperature": 0.0}])
def test_a_broken_calibration_is_refused(content) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="none that Gnomon wrote"):
        calibration_of(content)
    whole = vars(Calibration("temperature", 9, 2.0))
    assert calibration_of(dict(whole)).temperature == 2.0


def test_stacking_weights_by_hand() -> None:
    """One member with margin ±1, right 3 times of 4: σ(w) = ¾, w = log 3; a useless second one gets 0."""
    first = np.array([1.0, 1.0, -1.0, -1.0] * 500)
    second = np.array([1.0, -1.0, 1.0, -1.0] * 500)
    observed = np.where(first > 0, 0.75, 0.25)
    weights = stacking_weights([first, second], observed, ridge=0.0)
    np.testing.assert_allclose(weights, [math.log(3), 0.0], atol=1e-9)


def test_the_ridge_shares_weights_among_members_that_agree() -> None:
    margin = np.array([1.0, -1.0] * 100)
    weights = stacking_weights([margin, margin], np.where(margin > 0, 0.75, 0.25), ridge=1e-3)
    np.testing.assert_allclose(weights, [math.log(3) / 2] * 2, rtol=1e-3)
    separable = stacking_weights([margin], (margin > 0).astype(float))
    assert np.isfinite(separable).all()
    assert separable[0] > 3


def test_stacking_refuses_what_cannot_be_fitted() -> None:
    with pytest.raises(DataError, match="outcomes"):
        stacking_weights([[1.0, 2.0]], [1.0])
    with pytest.raises(DataError, match="not a finite number"):
        stacking_weights([[1.0, math.nan]], [1.0, 0.0])
