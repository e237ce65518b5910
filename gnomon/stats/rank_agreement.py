"""Rank agreement of annotators who rank or score the same completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.lazy import stats
from gnomon.stats.intervals import Estimate, bootstrap


@dataclass(frozen=True, slots=True)
class Tau:
    """Kendall's τ-b, and its two-sided p-value under unrelated orders."""

    value: float
    p: float


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> Tau | None:
    """Kendall's τ-b of two lists of scores of the same things, which allows for ties (M.G. Kendall 1945).

    Returns:
        1 for the same order, -1 for the reverse; None where either side does not vary, or there are fewer than
        two things.

    Raises:
        DataError: the two are not of the same length, or a score is not a finite number.
    """
    if len(one) != len(other) or not np.isfinite([*one, *other]).all():
        raise DataError(
            f"Kendall's tau needs as many finite scores on both sides, not {len(one)} and {len(other)}."
        )
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    result = stats.kendalltau(one, other)
    return Tau(float(result.statistic), float(result.pvalue))


def rank_agreement(units: Sequence[Sequence[Sequence[float]]], seed: int = 0) -> Estimate:
    """Mean τ-b of two annotators on one item: over the pairs of annotators of each item, then over items.

    Args:
        units: for each item, from each of its annotators the scores of its completions, always in the item's own
            order; for a ranking any numbers that fall from the best to the last. An annotator who calls all equal
            has no order, and is compared with nobody.
        seed: of the bootstrap over items that gives the interval.

    Returns:
        None where no item has two orders. The interval is None too where nothing varies from item to item.
    """
    means = []
    for unit in units:
        results = [kendall_tau(one, other) for one, other in combinations(unit, 2)]
        taus = [tau.value for tau in results if tau is not None]
        if taus:
            means.append(float(np.mean(taus)))
    if not means:
        return Estimate(None, None, None)
    values = np.array(means)
    estimate = bootstrap(lambda rows, _: float(values[rows].mean()), len(values), seed)
    return Estimate(estimate.value, None, None) if estimate.low == estimate.high else estimate
