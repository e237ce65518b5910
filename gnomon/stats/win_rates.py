"""Win rates between texts from their single ratings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def win_probabilities(ratings: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Win rates [N, N]: P(a rating of the row's text > a rating of the column's text), ties counted one half.

    Counted in integers, so that a tie is exactly 0.5.
    """
    counts = _counts(ratings)
    rank = np.arange(counts.shape[1])
    points = np.sign(rank[:, None] - rank[None, :]) + 1  # [values, values]: a win 2, a tie 1, a loss 0
    return _shares(counts @ points @ counts.T, counts) / 2


def tie_probabilities(ratings: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Tie rates [N, N]: P(a rating of the row's text = a rating of the column's text)."""
    counts = _counts(ratings)
    return _shares(counts @ counts.T, counts)


def _counts(ratings: Sequence[Sequence[float]]) -> NDArray[np.int64]:
    """How many ratings of each text have each value, [N, values]; the values ascend."""
    domain, column = np.unique([rating for one in ratings for rating in one], return_inverse=True)
    sizes = np.array([len(one) for one in ratings])
    counts = np.zeros((len(ratings), domain.size), dtype=np.int64)
    np.add.at(counts, (np.repeat(np.arange(len(ratings)), sizes), column), 1)
    return counts


def _shares(pairs: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of pairs of ratings, [N, N], of the number that there are."""
    sizes = counts.sum(axis=1)
    shares: NDArray[np.float64] = pairs / np.outer(sizes, sizes)
    return shares
