"""The most that a judge of texts can reach: how far one person agrees with the others.

Ratings come as one list a text, of any length and without the raters' identities. What is undefined is None.
Intervals are 95%, from a bootstrap over the texts: the texts are the sample, the pairs made from them are not.
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
