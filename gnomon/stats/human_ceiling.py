"""The human ceiling of a judge of texts: agreement of one person with the others.

Ratings are one list per text, of any length and without the raters' identities. Undefined figures are None.
Intervals are 95%, from a bootstrap over the texts: the texts are the sample, not their pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.core.types import RatedText
from gnomon.stats.intervals import Estimate, bootstrap

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HumanCeiling:
    """Agreement of one person with the others, which a judge of texts can hardly exceed.

    Attributes:
        correlation: Pearson's r of one rating with the mean of the remaining ratings of the same text.
        pair_agreement: share of pairs of texts that one rating of each orders as the means of the remaining
            ratings do; a tie of the two ratings counts one half.
        tie_share: share of pairs of texts for which one rating of each is equal.
        items: number of texts with two ratings or more; others are not used.
    """

    correlation: Estimate
    pair_agreement: Estimate
    tie_share: float | None
    items: int


def random_pairs(n: int, pairs: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Draw pairs of different indices below n.

    Args:
        n: number of indices, at least 2.
        pairs: number of pairs.
        rng: random number generator.

    Returns:
        First and second indices, [pairs] each.
    """
    first = rng.integers(n, size=pairs)
    second = (first + rng.integers(1, n, size=pairs)) % n
    return first, second


def pearson(a: FloatArray, b: FloatArray) -> float:
    """Compute Pearson's correlation; nan where either side does not vary."""
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def human_ceiling(items: Sequence[RatedText], pairs: int, seed: int, draws: int = 20) -> HumanCeiling:
    """Measure the agreement of one person's ratings with everybody else's.

    Args:
        items: rated texts; those with a single rating are left out.
        pairs: number of random pairs of texts for `pair_agreement`; pairs whose remaining means tie are skipped.
        seed: seed of the generator.
        draws: number of times that one rater is drawn for every text; the correlation is the mean over them.
    """
    used = [item for item in items if len(item.ratings) >= 2]
    if len(used) < 2 or pairs < 1:
        undefined = Estimate(None, None, None)
        return HumanCeiling(undefined, undefined, None, len(used))
    ratings = _RatingLists(used)

    def correlation(rows: IntArray, rng: np.random.Generator) -> float:
        return float(np.mean([pearson(*ratings.one_and_rest(rows, rng)) for _ in range(draws)]))

    def pair_agreement(rows: IntArray, rng: np.random.Generator) -> float:
        first, second = (rows[side] for side in random_pairs(rows.size, pairs, rng))
        one_first, rest_first = ratings.one_and_rest(first, rng)
        one_second, rest_second = ratings.one_and_rest(second, rng)
        # A resample may pair a text with itself; such a pair has no order, and is left out.
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
    """Rating lists of different lengths, concatenated so that one rating of each is drawn without a loop."""

    def __init__(self, items: Sequence[RatedText]) -> None:
        self.counts = np.array([len(item.ratings) for item in items])  # [N]
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])  # [N]
        self.flat = np.array([rating for item in items for rating in item.ratings], dtype=np.float64)
        self.sums = np.add.reduceat(self.flat, self.starts)  # [N]

    def one_and_rest(self, rows: IntArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Draw one rating of each of these texts; return it with the mean of the remaining ones, [rows] each."""
        one = self.flat[self.starts[rows] + rng.integers(self.counts[rows])]
        return one, (self.sums[rows] - one) / (self.counts[rows] - 1)


def order_agreement(differences: FloatArray, true_differences: FloatArray) -> float:
    """Return the share of pairs whose differences have the same sign; nan where no pair has a true order.

    Ties of `differences` count half; ties of `true_differences` are left out. Both are [pairs].
    """
    ordered = true_differences != 0
    if not ordered.any():
        return float("nan")
    agree = np.sign(differences[ordered]) * np.sign(true_differences[ordered])  # [pairs], in {-1, 0, 1}
    return float((agree.mean() + 1) / 2)
