"""Intraclass correlations against the published example, figures derived by hand, and simulated raters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from published import FIGURES

from gnomon.core.errors import DataError
from gnomon.stats.intervals import Estimate
from gnomon.stats.intraclass import IntraclassCorrelations, intraclass_correlations

SHROUT = FIGURES["icc_shrout_fleiss_1979"]
FORMS = {
    "one_way": ("ICC11", -0.133, 0.72),
    "agreement": ("ICC21", 0.019, 0.76),
    "consistency": ("ICC31", 0.342, 0.95),
    "one_way_mean": ("ICC1k", -0.884, 0.91),
    "agreement_mean": ("ICC2k", 0.071, 0.93),
    "consistency_mean": ("ICC3k", 0.676, 0.99),
}


def form(correlations: IntraclassCorrelations, name: str) -> Estimate:
    estimate = getattr(correlations, name)
    assert isinstance(estimate, Estimate)
    return estimate


@pytest.mark.parametrize("name", FORMS)
def test_six_forms_against_published_figures(name: str) -> None:
    """Shrout and Fleiss' table 2; the intervals are those of the R package psych."""
    key, low, high = FORMS[name]
    estimate = form(intraclass_correlations(SHROUT["targets_x_judges"]), name)
    assert estimate.value == pytest.approx(SHROUT[key], abs=5e-5)
    assert estimate.low == pytest.approx(low, abs=6e-4)
    assert estimate.high == pytest.approx(high, abs=6e-3)


def test_six_forms_by_hand() -> None:
    """Ratings (1, 3), (5, 7), (3, 5): one rater is always 2 above, so raters differ in severity alone.

    Means 2, 6, 4: targets 2 * 8 / 2 = 8; raters 3 * 2 / 1 = 6; residual 0; within 3 * 2 / 3 = 2.
    ICC(1,1) = (8 - 2) / (8 + 2); (2,1) = 8 / (8 + 2 * 6 / 3); (3,1) = 1; (1,k) = 6/8; (2,k) = 8 / (8 + 6/3).
    """
    result = intraclass_correlations([[1, 3], [5, 7], [3, 5]])
    assert result.one_way.value == pytest.approx(0.6)
    assert result.agreement.value == pytest.approx(8 / 12)
    assert result.consistency.value == pytest.approx(1.0)
    assert (result.consistency.low, result.consistency.high) == (None, None)
    assert result.one_way_mean.value == pytest.approx(0.75)
    assert result.agreement_mean.value == pytest.approx(0.8)
    assert (result.targets, result.raters) == (3, 2)


def test_undefined_forms_are_none() -> None:
    flat = intraclass_correlations([[2, 2], [2, 2]])
    assert all(form(flat, name) == Estimate(None, None, None) for name in FORMS)
    # The mean ratings of the targets do not differ, so the forms for means have no variance to explain.
    crossed = intraclass_correlations([[0, 1], [1, 0]])
    assert crossed.one_way.value == pytest.approx(-1.0)
    assert crossed.one_way_mean.value is None
    assert crossed.consistency_mean.value is None
    assert crossed.agreement.value is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[1.0, 2.0]], "two targets"),
        ([[1.0], [2.0]], "two raters"),
        ([[1.0, 2.0], [1.0]], "target 1 has 1 ratings"),
        ([[1.0, 2.0], [1.0, float("nan")]], "not a finite number"),
    ],
)
def test_incomplete_tables_are_refused(table: list[list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        intraclass_correlations(table)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 8), k=st.integers(2, 5))
def test_scale_shift_and_order_change_nothing(seed: int, n: int, k: int) -> None:
    """The bounds enclose the value, also with two targets and two raters."""
    rng = np.random.default_rng(seed)
    scale, shift = rng.uniform(0.1, 10), rng.uniform(-9, 9)
    ratings = rng.normal(size=(n, 1)) + rng.normal(size=(n, k))
    original = intraclass_correlations(ratings.tolist())
    changed = (ratings[rng.permutation(n)][:, rng.permutation(k)] * scale + shift).tolist()
    again = intraclass_correlations(changed)
    for name in FORMS:
        one, other = form(original, name), form(again, name)
        assert other.value == (None if one.value is None else pytest.approx(one.value, rel=1e-6))
        assert other.low == (None if one.low is None else pytest.approx(one.low, rel=1e-6))
        if one.value is not None and one.low is not None and one.high is not None:
            assert one.low <= one.value + 1e-9
            assert one.value <= one.high + 1e-9
            assert one.high <= 1


def test_simulated_raters_give_the_true_correlations_and_coverage() -> None:
    """Variances of targets 4, raters 1, error 1: agreement 4/6, consistency 4/5; the intervals cover them."""
    rng = np.random.default_rng(3)

    def sample(n: int, k: int) -> IntraclassCorrelations:
        noise = rng.normal(size=(n, k)) + rng.normal(size=(1, k))
        return intraclass_correlations((2 * rng.normal(size=(n, 1)) + noise).tolist())

    large = sample(2000, 200)
    assert large.agreement.value == pytest.approx(4 / 6, abs=0.03)
    assert large.consistency.value == pytest.approx(4 / 5, abs=0.02)
    many = [sample(20, 6) for _ in range(300)]
    for name, true in (("agreement", 4 / 6), ("consistency", 4 / 5)):
        bounds = [form(one, name) for one in many]
        covered = sum(b.low is not None and b.high is not None and b.low <= true <= b.high for b in bounds)
        assert 0.91 < covered / 300 < 0.985
