"""Intraclass correlations: the share of the ratings' variance that lies between the rated things, not the raters.

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
        targets: how many were rated.
        raters: k.
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

    Intervals assume normal ratings. They are None where raters agree to the last digit, since nothing then
    measures their error.

    Args:
        table: targets by raters, complete. Column j is one rater, except for the one-way forms, which do not use
            it.

    Raises:
        DataError: fewer than two targets or raters, a rating is missing or not finite.
    """
    if len(table) < 2 or len(table[0]) < 2:
        raise DataError("intraclass correlations need two targets and two raters or more; collect more ratings.")
    if uneven := next((number for number, row in enumerate(table) if len(row) != len(table[0])), None):
        raise DataError(
            f"target {uneven} has {len(table[uneven])} ratings and the first {len(table[0])}; "
            f"keep the targets that all rated."
        )
    ratings = np.asarray(table, dtype=np.float64)  # [n, k]
    if not np.isfinite(ratings).all():
        raise DataError("a rating is not a finite number; keep the targets that all rated.")
    of = _mean_squares(ratings)
    one_way = _from_f(of.targets, of.within, of, of.n * (of.k - 1))
    consistency = _from_f(of.targets, of.residual, of, (of.n - 1) * (of.k - 1))
    agreement = _agreement(of)
    return IntraclassCorrelations(
        one_way=one_way,
        agreement=agreement,
        consistency=consistency,
        one_way_mean=_of_mean(_ratio(of.targets - of.within, of.targets, of), one_way, of.k),
        agreement_mean=_of_mean(
            _ratio(of.targets - of.residual, of.targets + (of.raters - of.residual) / of.n, of), agreement, of.k
        ),
        consistency_mean=_of_mean(_ratio(of.targets - of.residual, of.targets, of), consistency, of.k),
        targets=of.n,
        raters=of.k,
    )


def _mean_squares(ratings: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> _MeanSquares:
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


def _ratio(part: float, whole: float, of: _MeanSquares) -> float | None:
    """`part / whole`; None where the variance to be explained is zero up to rounding, or negative."""
    scale = max(of.targets, of.within, of.raters)
    return part / whole if scale > 0 and whole > ROUNDING * scale else None


def _from_f(between: float, error: float, of: _MeanSquares, error_freedom: int) -> Estimate:
    """ICC(1,1) and (3,1), which depend on F = between / error alone."""
    value = _ratio(between - error, between + (of.k - 1) * error, of)
    if value is None:
        return UNDEFINED
    if error <= ROUNDING * between:
        return Estimate(value, None, None)
    low, high = (
        between / error / float(stats.f.ppf(0.975, of.n - 1, error_freedom)),
        between / error * float(stats.f.ppf(0.975, error_freedom, of.n - 1)),
    )
    return Estimate(value, (low - 1) / (low + of.k - 1), (high - 1) / (high + of.k - 1))


def _agreement(of: _MeanSquares) -> Estimate:
    """ICC(2,1), whose interval takes Satterthwaite's degrees of freedom."""
    n, k = of.n, of.k
    error = of.residual + (of.raters - of.residual) / n
    value = _ratio(of.targets - of.residual, of.targets - of.residual + k * error, of)
    if value is None:
        return UNDEFINED
    if of.residual <= ROUNDING * max(of.targets, of.raters):
        return Estimate(value, None, None)
    ratio = of.raters / of.residual
    rest = n * (1 + (k - 1) * value) - k * value
    freedom = (k - 1) * (n - 1) * (k * value * ratio + rest) ** 2
    freedom /= (n - 1) * (k * value * ratio) ** 2 + rest**2
    above = float(stats.f.ppf(0.975, n - 1, freedom))
    below = float(stats.f.ppf(0.975, freedom, n - 1))
    spread = k * of.raters + (k * n - k - n) * of.residual
    # Divided by the quantiles, which are infinite where the degrees of freedom are close to 0.
    lowest = spread + n * of.targets / above
    highest = spread / below + n * of.targets
    if min(lowest, highest) <= ROUNDING * of.residual:
        return Estimate(value, None, None)
    low = n * (of.targets / above - of.residual) / lowest
    high = n * (of.targets - of.residual / below) / highest
    if (
        not low - ROUNDING <= value <= high + ROUNDING
    ):  # with next to no degrees of freedom the approximation fails
        return Estimate(value, None, None)
    return Estimate(value, low, high)


def _of_mean(value: float | None, single: Estimate, k: int) -> Estimate:
    """The form for the mean of k raters; its bounds are the single rater's, by Spearman and Brown.

    None where the single rater's may be so low that the mean's has no lower end.
    """
    if value is None or single.low is None or single.high is None or 1 + (k - 1) * single.low <= ROUNDING:
        return Estimate(value, None, None)
    low, high = (k * bound / (1 + (k - 1) * bound) for bound in (single.low, single.high))
    return Estimate(value, low, high)
