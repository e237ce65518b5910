"""Estimates with 95% intervals: Wilson's for shares, the bootstrap for any statistic.

Undefined figures (nothing to count, no variation) are None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError

IntArray = NDArray[np.int64]

RESAMPLES = 200
NORMAL_975 = 1.959963984540054  # of a normal distribution, 97.5% lie below


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


def wilson_interval(successes: float, n: int) -> tuple[float, float] | None:
    """Wilson's 95% score interval of a share (E.B. Wilson 1927; Newcombe 1998, method 3); None for n = 0."""
    if n == 0:
        return None
    if not 0 <= successes <= n:
        raise DataError(f"{successes} successes out of {n} are not possible.")
    z = NORMAL_975
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(
    statistic: Callable[[IntArray, np.random.Generator], float], n: int, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """Estimate a statistic of n items with its 95% percentile interval.

    Args:
        statistic: function of item indices, [n], and a generator; returns nan where it is undefined. If it
            compares pairs of items, it draws them from these indices.
        n: number of items.
        seed: seed of the generator.
        resamples: number of resamples, each of n items drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    value = statistic(np.arange(n), rng)
    if np.isnan(value):
        return Estimate(None, None, None)
    resampled = np.array([statistic(rng.integers(n, size=n), rng) for _ in range(resamples)])
    resampled = resampled[~np.isnan(resampled)]
    if not resampled.size:
        return Estimate(float(value), None, None)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))


@dataclass(frozen=True, slots=True)
class Share:
    """A proportion: `hits` out of `of` cases; without cases, value and interval are None."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """`hits / of`; None without cases."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95% interval."""
        return wilson_interval(self.hits, self.of)

    @property
    def off_half(self) -> float | None:
        """Distance of the interval from 1/2; 0 where 1/2 is inside, None without cases."""
        if (interval := self.interval) is None:
            return None
        return max(0.0, interval[0] - 0.5, 0.5 - interval[1])

    @property
    def biased(self) -> bool | None:
        """True if 1/2 is outside the interval; by chance this happens to one unbiased annotator in 20."""
        return None if self.off_half is None else self.off_half > 0
