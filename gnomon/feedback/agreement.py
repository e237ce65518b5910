"""How far people agree with each other, and so the most that a judge of texts can reach.

Individual ratings come as one list a text, of any length and without the raters' identities. What is
undefined (no two ratings of one text, no variation) is None, never 0. Intervals are 95%, from a bootstrap over
the texts: the texts are the sample, the pairs made from them are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import krippendorff
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from gnomon.core.errors import DataError
from gnomon.core.types import RatedText

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Level = Literal["nominal", "ordinal", "interval"]

RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class HumanCeiling:
    """What one person reaches when judged by the others: no judge of texts can be asked for much more.

    Attributes:
        correlation: Pearson's r of one rating with the mean of the remaining ratings of the same text.
        pair_agreement: how often one rating of each of two texts orders them as the means of the remaining
            ratings do; a tie of the two ratings counts one half.
        tie_share: how often two single ratings of two texts are equal.
        items: texts with two ratings or more, on which all this rests.
    """

    correlation: Estimate
    pair_agreement: Estimate
    tie_share: float | None
    items: int


def wilson_interval(successes: float, n: int) -> tuple[float, float] | None:
    """Wilson's 95% score interval of a share (E.B. Wilson 1927; Newcombe 1998, method 3); None for n = 0."""
    if n == 0:
        return None
    if not 0 <= successes <= n:
        raise DataError(f"{successes} successes out of {n} are not possible.")
    z = float(norm.ppf(0.975))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(
    statistic: Callable[[IntArray, np.random.Generator], float], n: int, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """A statistic of n items with its 95% percentile interval.

    Args:
        statistic: takes places of items [n] and a generator; gives nan where it is undefined. It draws the
            pairs it needs from the places it gets, so a resample shares items as the whole does.
        n: number of items.
        seed: of everything random.
        resamples: how often n items are drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    value = statistic(np.arange(n), rng)
    if np.isnan(value):
        return Estimate(None, None, None)
    drawn = np.array([statistic(rng.integers(n, size=n), rng) for _ in range(resamples)])
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return Estimate(float(value), None, None)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))


def random_pairs(n: int, pairs: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Two arrays [pairs] of places below n, never the same place twice in one pair. Needs n >= 2."""
    first = rng.integers(n, size=pairs)
    second = (first + rng.integers(1, n, size=pairs)) % n
    return first, second


def pearson(a: FloatArray, b: FloatArray) -> float:
    """Pearson's correlation; nan where either side does not vary."""
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def krippendorff_alpha(ratings: Sequence[Sequence[float]], level: Level, seed: int = 0) -> Estimate:
    """Krippendorff's alpha: 1 is perfect agreement, 0 what chance would give.

    Who gave which rating is not needed: alpha compares every rating with every other one of the same unit, so
    it depends on how often each value was given to each unit, and on nothing else (K. Krippendorff, "Computing
    Krippendorff's Alpha-Reliability", 2011). Missing ratings are simply not in the lists; units with fewer than
    two ratings have nothing to compare and count for nothing.

    Args:
        ratings: for each unit, its ratings.
        level: how the distance of two values counts: equal or not, by rank, or by squared difference.
        seed: of the bootstrap over units.
    """
    comparable = [unit for unit in ratings if len(unit) >= 2]
    if not comparable:
        return Estimate(None, None, None)
    values = np.concatenate([np.asarray(unit, dtype=np.float64) for unit in comparable])
    if not np.isfinite(values).all():
        raise DataError("a rating is not a finite number; remove it before measuring agreement.")
    domain, column = np.unique(values, return_inverse=True)
    row = np.repeat(np.arange(len(comparable)), [len(unit) for unit in comparable])
    counts = np.zeros((len(comparable), domain.size), dtype=np.int64)  # [units, values]
    np.add.at(counts, (row, column), 1)

    def alpha(places: IntArray, _: np.random.Generator) -> float:
        used = counts[places]
        # A value that nobody in the resample gave must leave the domain. With one value left there is no
        # disagreement to be expected, and alpha is undefined.
        given = used.any(axis=0)
        if given.sum() < 2:
            return float("nan")
        return float(
            krippendorff.alpha(
                value_counts=used[:, given], value_domain=domain[given], level_of_measurement=level
            )
        )

    return bootstrap(alpha, len(comparable), seed)


def human_ceiling(items: Sequence[RatedText], pairs: int, seed: int, draws: int = 20) -> HumanCeiling:
    """How well one person's ratings agree with everybody else's.

    Args:
        items: rated texts; those with a single rating are left out, as nothing remains to compare it with.
        pairs: random pairs of texts for the agreement on order; pairs whose remaining means tie are skipped.
        seed: of everything random.
        draws: how many times a rater is drawn for every text; the correlation is the mean over them.
    """
    used = [item for item in items if len(item.ratings) >= 2]
    if len(used) < 2 or pairs < 1:
        undefined = Estimate(None, None, None)
        return HumanCeiling(undefined, undefined, None, len(used))
    ratings = _RatingLists(used)

    def correlation(places: IntArray, rng: np.random.Generator) -> float:
        return float(np.mean([pearson(*ratings.one_and_rest(places, rng)) for _ in range(draws)]))

    def pair_agreement(places: IntArray, rng: np.random.Generator) -> float:
        first, second = (places[side] for side in random_pairs(places.size, pairs, rng))
        one_first, rest_first = ratings.one_and_rest(first, rng)
        one_second, rest_second = ratings.one_and_rest(second, rng)
        # A resample may pair a text with itself: that pair has no order to agree with.
        order = np.where(first == second, 0.0, rest_first - rest_second)
        return order_agreement(one_first - one_second, order)

    rng = np.random.default_rng(seed)
    first, second = random_pairs(len(used), pairs, rng)
    ties = ratings.one_and_rest(first, rng)[0] == ratings.one_and_rest(second, rng)[0]
    return HumanCeiling(
        bootstrap(correlation, len(used), seed),
        bootstrap(pair_agreement, len(used), seed),
        float(ties.mean()),
        len(used),
    )


class _RatingLists:
    """Rating lists of different length, laid end to end so that one rater of each can be drawn at once."""

    def __init__(self, items: Sequence[RatedText]) -> None:
        self.counts = np.array([len(item.ratings) for item in items])  # [N]
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])  # [N]
        self.flat = np.array([rating for item in items for rating in item.ratings], dtype=np.float64)
        self.sums = np.add.reduceat(self.flat, self.starts)  # [N]

    def one_and_rest(self, places: IntArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """One random rating of the text at each place, and the mean of its remaining ratings."""
        one = self.flat[self.starts[places] + rng.integers(self.counts[places])]
        return one, (self.sums[places] - one) / (self.counts[places] - 1)


def order_agreement(differences: FloatArray, true_differences: FloatArray) -> float:
    """Share of pairs with differences of the same sign; ties of the former count half, of the latter nothing.

    Gives nan when no pair has a true order.
    """
    ordered = true_differences != 0
    if not ordered.any():
        return float("nan")
    agree = np.sign(differences[ordered]) * np.sign(true_differences[ordered])  # [pairs], in {-1, 0, 1}
    return float((agree.mean() + 1) / 2)
