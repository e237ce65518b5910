"""Scores and lengths, by hand."""

from __future__ import annotations

import pytest
from examined_cases import cases_of, examined, number_in

# The shorter text is preferred once, the longer one twice, and once both are as long.
PAIRS = (("p", "a:1", "aa:0"), ("q", "aaa:2", "a:1"), ("r", "aaaa:0", "aa:3"), ("s", "b:5", "c:1"))


def test_figures_by_hand() -> None:
    """Right where the shorter is preferred, and once where the longer is. The longer scores higher once."""
    (length,) = examined(cases_of(*PAIRS), number_in).models[0].lengths
    assert (length.unit, length.texts) == ("characters", 8)
    assert (length.shorter.value, length.shorter.pairs) == (1, 1)
    assert (length.longer.value, length.longer.pairs) == (0.5, 2)
    assert length.prefers_longer == pytest.approx(1 / 3)
    assert length.people_prefer_longer == pytest.approx(2 / 3)


def test_a_reward_that_is_length() -> None:
    (length,) = examined(cases_of(*PAIRS), lambda p, t: float(len(t))).models[0].lengths
    assert length.pearson == pytest.approx(1)
    assert length.spearman == pytest.approx(1)
    assert length.prefers_longer == 1
    assert (length.shorter.value, length.longer.value) == (0, 1)
    (length,) = examined(cases_of(*PAIRS), lambda p, t: -3.0 * len(t)).models[0].lengths
    assert length.pearson == pytest.approx(-1)
    assert length.prefers_longer == 0


def test_lengths_that_do_not_vary() -> None:
    (length,) = examined(cases_of(("p", "a:1", "b:2")), number_in).models[0].lengths
    assert (length.pearson, length.spearman, length.prefers_longer, length.shorter.value) == (None,) * 4
