"""Intraclass correlations: share of the variance of ratings that is due to the rated targets, not to the raters.

P.E. Shrout and J.L. Fleiss, "Intraclass correlations: uses in assessing rater reliability", Psychological
Bulletin 86 (1979); intervals as there, and as K.O. McGraw and S.P. Wong (1996) for the means of k raters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.lazy import stats
from gnomon.stats.intervals import Estimate

UNDEFINED = Estimate(None, None, None)
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class IntraclassCorrelations:
    """The six forms; a form is None where its variance is zero or its estimate negative.

    Attributes:
        one_way: ICC(1,1); each target has raters of its own.
        agreement: ICC(2,1); the same raters for all targets, drawn from many; their severity counts as error.
        consistency: ICC(3,1); these raters alone matter, and severity does not.
        one_way_mean, agreement_mean, consistency_mean: ICC(1,k), (2,k), (3,k); of the mean of the k raters.
        targets: number of targets, n.
        raters: number of raters, k.
    """

    one_way: Estimate
    agreement: Estimate
    consistency: Estimate
    one_way_mean: Estimate
    agreement_mean: Estimate
    consistency_mean: Estimate
    targets: int
    raters: int


@dataclass(frozen=True, slots=True)
class _MeanSquares:
    """Mean squares of n targets and k raters: between targets, within targets, between raters, residual."""

    n: int
    k: int
    targets: float
    within: float
    raters: float
    residual: float


def intraclass_correlations(table: Sequence[Sequence[float]]) -> IntraclassCorrelations:
    """Compute all six forms with 95% intervals.

    Intervals assume normal ratings. They are None where raters agree exactly, since their error is then unknown.

    Args:
        table: ratings, [targets, raters], without gaps. Each column belongs to one rater; the one-way forms
            ignore which.

    Raises:
        DataError: fewer than two targets or raters, a rating is missing or not finite.
    """
    if len(table) < 2 or len(table[0]) < 2:
        raise DataError("intraclass correlations need two targets and two raters or more; collect more ratings.")
    if uneven := next((number for number, row in enumerate(table) if len(row) != len(table[0])), None):
        raise DataError(
            f"target {uneven} has {len(table[uneven])} ratings and the first {len(table[0])}; "
            f"keep the targets with a rating from every rater."
        )
    ratings = np.asarray(table, dtype=np.float64)  # [n, k]
    if not np.isfinite(ratings).all():
        raise DataError("a rating is not a finite number; keep the targets with a rating from every rater.")
    squares = _mean_squares(ratings)
    one_way = _from_f(squares.targets, squares.within, squares, squares.n * (squares.k - 1))
    consistency = _from_f(squares.targets, squares.residual, squares, (squares.n - 1) * (squares.k - 1))
    agreement = _agreement(squares)
    return IntraclassCorrelations(
        one_way=one_way,
        agreement=agreement,
        consistency=consistency,
        one_way_mean=_of_mean(
            _ratio(squares.targets - squares.within, squares.targets, squares), one_way, squares.k
        ),
        agreement_mean=_of_mean(
            _ratio(
                squares.targets - squares.residual,
                squares.targets + (squares.raters - squares.residual) / squares.n,
                squares,
            ),
            agreement,
            squares.k,
        ),
        consistency_mean=_of_mean(
            _ratio(squares.targets - squares.residual, squares.targets, squares), consistency, squares.k
        ),
        targets=squares.n,
        raters=squares.k,
    )


def _mean_squares(ratings: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> _MeanSquares:
    """Compute the mean squares of a two-way table, [n, k]."""
    n, k = ratings.shape
    grand = ratings.mean()
    by_target = ratings.mean(axis=1, keepdims=True)
    by_rater = ratings.mean(axis=0, keepdims=True)
    return _MeanSquares(
        n=n,
        k=k,
        targets=float(k * ((by_target - grand) ** 2).sum() / (n - 1)),
        within=float(((ratings - by_target) ** 2).sum() / (n * (k - 1))),
        raters=float(n * ((by_rater - grand) ** 2).sum() / (k - 1)),
        residual=float(((ratings - by_target - by_rater + grand) ** 2).sum() / ((n - 1) * (k - 1))),
    )


def _ratio(part: float, whole: float, squares: _MeanSquares) -> float | None:
    """Return `part / whole`; None where the denominator is zero up to rounding, or negative."""
    scale = max(squares.targets, squares.within, squares.raters)
    return part / whole if scale > 0 and whole > ROUNDING * scale else None


def _from_f(between: float, error: float, squares: _MeanSquares, error_freedom: int) -> Estimate:
    """Return ICC(1,1) or ICC(3,1), which depend on F = between / error alone."""
    value = _ratio(between - error, between + (squares.k - 1) * error, squares)
    if value is None:
        return UNDEFINED
    if error <= ROUNDING * between:
        return Estimate(value, None, None)
    low, high = (
        between / error / float(stats.f.ppf(0.975, squares.n - 1, error_freedom)),
        between / error * float(stats.f.ppf(0.975, error_freedom, squares.n - 1)),
    )
    return Estimate(value, (low - 1) / (low + squares.k - 1), (high - 1) / (high + squares.k - 1))


def _agreement(squares: _MeanSquares) -> Estimate:
    """Return ICC(2,1) with an interval from Satterthwaite's degrees of freedom."""
    n, k = squares.n, squares.k
    error = squares.residual + (squares.raters - squares.residual) / n
    value = _ratio(squares.targets - squares.residual, squares.targets - squares.residual + k * error, squares)
    if value is None:
        return UNDEFINED
    if squares.residual <= ROUNDING * max(squares.targets, squares.raters):
        return Estimate(value, None, None)
    ratio = squares.raters / squares.residual
    rest = n * (1 + (k - 1) * value) - k * value
    freedom = (k - 1) * (n - 1) * (k * value * ratio + rest) ** 2
    freedom /= (n - 1) * (k * value * ratio) ** 2 + rest**2
    above = float(stats.f.ppf(0.975, n - 1, freedom))
    below = float(stats.f.ppf(0.975, freedom, n - 1))
    spread = k * squares.raters + (k * n - k - n) * squares.residual
    # Divide by the quantiles, which are infinite where the degrees of freedom are close to 0.
    lowest = spread + n * squares.targets / above
    highest = spread / below + n * squares.targets
    if min(lowest, highest) <= ROUNDING * squares.residual:
        return Estimate(value, None, None)
    low = n * (squares.targets / above - squares.residual) / lowest
    high = n * (squares.targets - squares.residual / below) / highest
    # With next to no degrees of freedom the approximation fails.
    if not low - ROUNDING <= value <= high + ROUNDING:
        return Estimate(value, None, None)
    return Estimate(value, low, high)


def _of_mean(value: float | None, single: Estimate, k: int) -> Estimate:
    """Return the form for the mean of k raters, with bounds of the single rater by the Spearman–Brown formula.

    The bounds are None where the single rater's lower bound is too small for the formula.
    """
    if value is None or single.low is None or single.high is None or 1 + (k - 1) * single.low <= ROUNDING:
        return Estimate(value, None, None)
    low, high = (k * bound / (1 + (k - 1) * bound) for bound in (single.low, single.high))
    return Estimate(value, low, high)
