"""Win rates of ratings, against the plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.stats.win_rates import win_probabilities


def test_win_probabilities_equal_the_plain_loop() -> None:
    rng = np.random.default_rng(0)
    ratings = [rng.integers(-2, 3, size).tolist() for size in (1, 2, 3, 5, 8)]
    fast = win_probabilities(ratings)
    for row, first in enumerate(ratings):
        for column, second in enumerate(ratings):
            wins = [1.0 if x > y else 0.5 if x == y else 0.0 for x in first for y in second]
            assert fast[row, column] == pytest.approx(sum(wins) / len(wins))


def test_a_tie_is_exactly_one_half() -> None:
    assert win_probabilities([[0.1, 0.2, 0.3], [0.2]])[0, 1] == 0.5
