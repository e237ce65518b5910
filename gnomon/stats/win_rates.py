"""Win rates between texts from their single ratings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def win_probabilities(ratings: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Win rates [N, N]: P(a rating of the row's text > a rating of the column's text), ties counted one half.

    Counted in integers, so that a tie is exactly 0.5.
    """
    domain, column = np.unique([rating for one in ratings for rating in one], return_inverse=True)
    sizes = np.array([len(one) for one in ratings])
    counts = np.zeros((len(ratings), domain.size), dtype=np.int64)  # [N, values]
    np.add.at(counts, (np.repeat(np.arange(len(ratings)), sizes), column), 1)
    rank = np.arange(domain.size)
    points = np.sign(rank[:, None] - rank[None, :]) + 1  # [values, values]: a win 2, a tie 1, a loss 0
    wins = counts @ points @ counts.T
    probability: NDArray[np.float64] = wins / (2 * np.outer(sizes, sizes))
    return probability
