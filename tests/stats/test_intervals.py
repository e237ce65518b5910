"""Wilson's interval against published figures, and the bootstrap against Student's interval."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from published import FIGURES

from gnomon.core.errors import DataError
from gnomon.stats.intervals import Estimate, bootstrap, wilson_interval


def test_wilson_interval_against_published_figures() -> None:
    """Newcombe 1998, table I, method 3."""
    for successes, n, low, high in FIGURES["wilson95_newcombe1998"]:
        assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_at_its_edges() -> None:
    assert wilson_interval(0, 0) is None
    assert wilson_interval(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)
    with pytest.raises(DataError, match="21 successes out of 20"):
        wilson_interval(21, 20)


def test_a_bootstrap_of_a_mean_is_about_as_wide_as_students_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    mean = bootstrap(lambda rows, _: float(values[rows].mean()), 200, seed=1, resamples=2000)
    assert mean.value == pytest.approx(values.mean())
    assert mean.low is not None
    assert mean.high is not None
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * values.std() / 200**0.5, rel=0.08)


def test_a_bootstrap_leaves_out_resamples_without_a_value() -> None:
    """Undefined where all three indices are equal, in one resample of nine; a single index never has a value."""

    def spread(rows: NDArray[np.int64], _: np.random.Generator) -> float:
        return float(np.ptp(rows)) if np.ptp(rows) else float("nan")

    estimate = bootstrap(spread, 3, seed=0)
    assert (estimate.value, estimate.low, estimate.high) == (2.0, 1.0, 2.0)
    assert bootstrap(spread, 1, seed=0) == Estimate(None, None, None)
