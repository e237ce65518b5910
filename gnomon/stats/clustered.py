"""Shares over pairs of texts with intervals from resampled prompts, and differences of two such shares.

Pairs of one prompt are not independent, so the prompts are resampled and not the pairs (the cluster bootstrap;
C.A. Field and A.H. Welsh, JRSS B 2007). A pair of texts without a prompt belongs to two clusters, its texts: a
resample that holds them i and j times holds the pair i·j times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.stats.intervals import Estimate, wilson_interval

FloatArray = NDArray[np.float64]

RESAMPLES = 1000
CELLS = 4_000_000  # of the counts that are in memory at once


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A difference of two means over the same pairs.

    Attributes:
        value: the difference; `None` without pairs.
        low: lower end of its 95% percentile interval.
        high: upper end.
        p: two-sided p-value under the hypothesis of no difference: twice the smaller share of resampled
            differences on either side of 0, those at 0 counted on both, one added to count and number.
        pairs: number of pairs with both values.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    pairs: int


class ClusterBootstrap:
    """Resamples the clusters of pairs, the same for every statistic, so that differences are paired.

    Args:
        first: cluster of each pair's first text, [P].
        second: cluster of its second text, [P]; the same number where both belong to one prompt.
        seed: seed of the generator.
        resamples: number of resamples.
    """

    def __init__(self, first: ArrayLike, second: ArrayLike, seed: int, resamples: int = RESAMPLES):
        both = np.stack([np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)])
        names, index = np.unique(both, return_inverse=True)
        self._first, self._second = index.reshape(both.shape)  # [P] each
        self._seed, self._resamples = seed, resamples
        self.clusters = int(names.size)

    def mean(self, values: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
        """Estimate the mean of the pairs' values.

        Where all values are 0 or all are 1, resamples do not vary: the interval is then Wilson's, as if each
        cluster were one observation. It is None for a single cluster.

        Args:
            values: [P]; NaN is left out.
            weights: of the pairs, [P]; by default 1 each.
        """
        numbers = np.asarray(values, dtype=np.float64)
        sizes = np.ones(numbers.shape) if weights is None else np.asarray(weights, dtype=np.float64)
        valid = ~np.isnan(numbers) & (sizes > 0)
        if not valid.any():
            return Estimate(None, None, None)
        value = float(np.average(numbers[valid], weights=sizes[valid]))
        clusters = np.unique([self._first[valid], self._second[valid]]).size
        if clusters < 2:
            return Estimate(value, None, None)
        if value in (0.0, 1.0) and np.ptp(numbers[valid]) == 0:
            bounds = wilson_interval(value * clusters, clusters)
            assert bounds is not None
            return Estimate(value, *bounds)
        sizes = np.where(valid, sizes, 0.0)
        means = self._means(np.where(valid, numbers, 0.0) * sizes, sizes)
        low, high = np.quantile(means[~np.isnan(means)], [0.025, 0.975])
        return Estimate(value, float(low), float(high))

    def difference(self, one: ArrayLike, other: ArrayLike) -> PairedDifference:
        """Estimate the mean of `one` minus that of `other`, [P] each, over the pairs that have both."""
        gaps = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
        valid = ~np.isnan(gaps)
        if not valid.any():
            return PairedDifference(None, None, None, None, 0)
        value, count = float(gaps[valid].mean()), int(valid.sum())
        if np.unique([self._first[valid], self._second[valid]]).size < 2:
            return PairedDifference(value, None, None, None, count)
        means = self._means(np.where(valid, gaps, 0.0), valid.astype(np.float64))
        means = means[~np.isnan(means)]
        low, high = np.quantile(means, [0.025, 0.975])
        sides = [(means <= 0).sum(), (means >= 0).sum()]
        p = min(1.0, 2 * (1 + float(min(sides))) / (1 + means.size))
        return PairedDifference(value, float(low), float(high), p, count)

    def _means(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """Return the mean in each resample, [R]; NaN where a resample has no pair."""
        parts = []
        for counts in self._counts():  # [r, C]
            if self._single:
                total = counts @ np.bincount(self._first, values, self.clusters)
                size = counts @ np.bincount(self._first, weights, self.clusters)
            else:
                times = counts[:, self._first] * np.where(
                    self._first == self._second, 1.0, counts[:, self._second]
                )
                total, size = times @ values, times @ weights
            with np.errstate(invalid="ignore", divide="ignore"):
                parts.append(total / size)
        return np.concatenate(parts)

    @cached_property
    def _single(self) -> bool:
        """Whether each pair belongs to one cluster."""
        return bool((self._first == self._second).all())

    def _counts(self) -> Iterator[FloatArray]:
        """Yield how often each cluster is in each resample, [r, C] at a time, the same in every call."""
        rng = np.random.default_rng(self._seed)
        width = self.clusters if self._single else max(self.clusters, self._first.size)
        rows = max(1, min(self._resamples, CELLS // width))
        shares = np.full(self.clusters, 1 / self.clusters)
        for start in range(0, self._resamples, rows):
            size = min(rows, self._resamples - start)
            yield rng.multinomial(self.clusters, shares, size=size).astype(np.float64)
