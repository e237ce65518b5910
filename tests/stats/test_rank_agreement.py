"""Kendall's tau between two orders, and among annotators."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from published import FIGURES

from gnomon.core.errors import DataError
from gnomon.stats.intervals import Estimate
from gnomon.stats.rank_agreement import kendall_tau, rank_agreement


def test_tau_against_published_figures() -> None:
    figures = FIGURES["kendall_tau_b_scipy"]
    tau = kendall_tau(figures["x"], figures["y"])
    assert tau is not None
    assert tau.value == pytest.approx(figures["tau"], abs=1e-7)
    assert tau.p == pytest.approx(figures["p"], abs=1e-7)


def test_tau_of_constant_short_and_invalid_lists() -> None:
    assert kendall_tau([1, 1, 1], [1, 2, 3]) is None
    assert kendall_tau([1], [2]) is None
    with pytest.raises(DataError, match="not 2 and 1 scores"):
        kendall_tau([1, 2], [1])
    with pytest.raises(DataError, match="finite"):
        kendall_tau([1, 2], [1, float("nan")])


def test_rank_agreement_by_hand() -> None:
    """Item 1: same, same, reversed: tau 1, -1, -1, mean -1/3. Item 2: one swap of three, 1/3. Item 3 has none."""
    units = [
        [(3, 2, 1), (9, 5, 4), (1, 2, 3)],
        [(3, 2, 1), (3, 1, 2)],
        [(1, 1, 1), (3, 1, 2)],
    ]
    agreement = rank_agreement(units)
    assert agreement.value == pytest.approx(0.0)
    assert (agreement.low, agreement.high) == pytest.approx((-1 / 3, 1 / 3))
    assert rank_agreement([]) == rank_agreement(units[2:]) == Estimate(None, None, None)
    one = rank_agreement(units[1:])
    assert one.value == pytest.approx(1 / 3)
    assert (one.low, one.high) == (None, None)


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(5)), other=st.permutations(range(5)))
def test_tau_is_one_minus_twice_the_share_of_swapped_pairs(order: list[int], other: list[int]) -> None:
    swapped = sum((order[a] - order[b]) * (other[a] - other[b]) < 0 for a in range(5) for b in range(a + 1, 5))
    tau = kendall_tau(order, other)
    assert tau is not None
    assert tau.value == pytest.approx(1 - 2 * swapped / 10)
