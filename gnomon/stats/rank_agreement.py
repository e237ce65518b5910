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
    """Kendall's τ-b, and its two-sided p-value under the hypothesis of independent orders."""

    value: float
    p: float


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> Tau | None:
    """Compute Kendall's τ-b of two lists of scores of the same texts, which allows for ties (M.G. Kendall 1945).

    Returns:
        1 for the same order, -1 for the reverse; None where either list does not vary, or has fewer than two
        scores.

    Raises:
        DataError: the lists differ in length, or a score is not a finite number.
    """
    if len(one) != len(other) or not np.isfinite([*one, *other]).all():
        raise DataError(
            "Kendall's tau needs two lists of finite scores of equal length, "
            f"not {len(one)} and {len(other)} scores."
        )
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    result = stats.kendalltau(one, other)
    return Tau(float(result.statistic), float(result.pvalue))


def rank_agreement(units: Sequence[Sequence[Sequence[float]]], seed: int = 0) -> Estimate:
    """Compute the mean τ-b of two annotators: over the pairs of annotators of each item, then over items.

    Args:
        units: [items][annotators][completions]; an annotator's scores of an item's completions in the item's own
            order. For a ranking, any numbers that fall from the best to the last. Annotators who score all
            completions alike are left out.
        seed: seed of the bootstrap over items for the interval.

    Returns:
        The mean; undefined where no item has two orders. The interval is None where the items do not vary.
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
