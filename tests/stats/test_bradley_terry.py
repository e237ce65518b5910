"""Strengths from pairs and rankings, against published figures, figures derived by hand, and known strengths."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from published import FIGURES
from scipy.optimize import brentq

from gnomon.core.errors import ConfigError, DataError
from gnomon.stats.bradley_terry import Strengths, strengths
from gnomon.stats.intervals import Estimate

Judgements = list[dict[str, float]]


def wins(*pairs: str) -> Judgements:
    """One judgement per pair, won by its first letter."""
    return [{pair[0]: 1.0, pair[1]: 0.0} for pair in pairs]


def by_name(fitted: Strengths) -> dict[str, float]:
    return dict(zip(fitted.names, fitted.values.tolist(), strict=True))


def sampled_rankings(
    true: np.ndarray[tuple[int], np.dtype[np.float64]], k: int, count: int, seed: int
) -> Judgements:
    """Rankings of k sampled from the model: the order of exponential times with the rates exp(strength)."""
    rng = np.random.default_rng(seed)
    rankings = []
    for _ in range(count):
        candidates = rng.choice(true.size, k, replace=False)
        times = rng.exponential(np.exp(-true[candidates]))
        rankings.append({f"{n:02d}": -float(time) for n, time in zip(candidates, times, strict=True)})
    return rankings


def test_strengths_against_published_figures() -> None:
    figures = FIGURES["bradley_terry_wikipedia"]
    judgements = wins(*(winner + loser for winner, loser, _ in figures["wins"]))
    fitted = strengths(judgements, [count for *_, count in figures["wins"]], prior=None)
    for name, value in by_name(fitted).items():
        assert math.exp(value) == pytest.approx(figures["strength_geomean1"][name], abs=5e-5)
    repeated = [
        judgement
        for judgement, (*_, count) in zip(judgements, figures["wins"], strict=True)
        for _ in range(count)
    ]
    np.testing.assert_allclose(strengths(repeated, prior=None).values, fitted.values, atol=1e-9)


def test_strengths_of_two_by_hand() -> None:
    """Three wins, a loss and two ties: 4 of 6 points, so odds of 2; the information is 6 * 2/3 * 1/3 = 4/3."""
    judgements = [*wins("ab", "ab", "ab", "ba"), {"a": 0.5, "b": 0.5}, {"b": 3.0, "a": 3.0}]
    fitted = strengths(judgements, prior=None)
    assert fitted.probability("a", "b") == pytest.approx(2 / 3)
    gap, reverse = fitted.difference("a", "b"), fitted.difference("b", "a")
    half = 1.959964 * math.sqrt(3 / 4)
    assert (gap.value, gap.low, gap.high) == pytest.approx((math.log(2), math.log(2) - half, math.log(2) + half))
    assert (reverse.value, reverse.high) == pytest.approx((-math.log(2), half - math.log(2)))


def test_strengths_with_a_prior_by_hand() -> None:
    """Three wins of three, strengths d/2 and -d/2: 3 (1 - σ(d)) - d/2 = 0 at the maximum of the posterior."""
    gap = brentq(lambda d: 3 / (1 + math.exp(d)) - d / 2, 0, 9)
    fitted = strengths(wins("ab", "ab", "ab"))
    assert fitted.difference("a", "b").value == pytest.approx(gap)
    assert fitted.probability("a", "b") == pytest.approx(0.78, abs=0.005)
    firm = strengths(wins("ab", "ab", "ab"), prior=0.1).probability("a", "b")
    loose = strengths(wins("ab", "ab", "ab"), prior=100).probability("a", "b")
    assert firm is not None
    assert loose is not None
    assert firm < 0.52
    assert loose > 0.99


def test_strengths_of_rankings_of_three_maximize_the_likelihood() -> None:
    """Twice abc, once bca, cab each: any step away from the fit lowers the likelihood, written out here."""
    orders = ["abc", "abc", "bca", "cab"]
    judgements = [{name: -float(rank) for rank, name in enumerate(order)} for order in orders]
    values = by_name(strengths(judgements, prior=None))

    def likelihood(candidate: dict[str, float]) -> float:
        total = 0.0
        for order in orders:
            total += candidate[order[0]] - math.log(sum(math.exp(candidate[name]) for name in order))
            total += candidate[order[1]] - math.log(sum(math.exp(candidate[name]) for name in order[1:]))
        return total

    maximum = likelihood(values)
    for name in values:
        for step in (1e-3, -1e-3):
            nearby = likelihood({**values, name: values[name] + step})
            assert maximum - 1e-5 < nearby < maximum
    assert sum(values.values()) == pytest.approx(0.0)


def test_strengths_with_ties_in_rankings_by_hand() -> None:
    """x above a tie of y and z, once: y and z are equal; x is chosen once of three and in no other choice.

    With a prior of 1 the slope of x is 1 - p - x = 0 with p = e^x / (e^x + 2 e^(-x/2)).
    """
    values = by_name(strengths([{"x": 2.0, "y": 1.0, "z": 1.0}]))
    assert values["y"] == pytest.approx(values["z"])
    x = brentq(lambda v: 2 / (math.exp(1.5 * v) + 2) - v, 0, 2)
    assert values["x"] == pytest.approx(x)
    all_tied = by_name(strengths([dict.fromkeys("xyz", 1.0)]))
    assert list(all_tied.values()) == pytest.approx([0.0] * 3)


def test_names_without_a_link_are_in_different_groups() -> None:
    fitted = strengths([*wins("ab", "cd", "dc"), {"e": 1.0}])
    assert fitted.groups == (("a", "b"), ("c", "d"), ("e",))
    assert fitted.probability("a", "c") is None
    assert fitted.difference("a", "e") == Estimate(None, None, None)
    assert fitted.probability("c", "d") == pytest.approx(0.5)
    # Each group is centered by itself.
    assert by_name(fitted)["a"] == pytest.approx(-by_name(fitted)["b"])


def test_without_a_prior_a_name_that_always_wins_is_refused() -> None:
    for judgements in (wins("ab", "ab"), wins("ab", "bc", "cb"), wins("xy", "yx", "ab", "bc", "ca", "ad")):
        with pytest.raises(DataError, match="are unbounded; pass a prior"):
            strengths(judgements, prior=None)
        assert np.isfinite(strengths(judgements).values).all()
    circle = strengths(wins("ab", "bc", "ca"), prior=None)
    np.testing.assert_allclose(circle.values, 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("judgements", "weights", "message"),
    [
        ([], None, "there are no comparisons"),
        (wins("ab"), [1.0, 2.0], "2 weights for 1 judgements"),
        (wins("ab"), [-1.0], "weight -1.0"),
        (wins("ab"), [float("nan")], "weight nan"),
        ([{"a": float("inf"), "b": 1.0}], None, "not finite"),
    ],
)
def test_invalid_judgements_weights_and_priors_are_refused(
    judgements: Judgements, weights: list[float] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        strengths(judgements, weights)
    for prior in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="standard deviation above 0"):
            strengths(wins("ab"), prior=prior)


@pytest.mark.parametrize(("k", "count"), [(2, 6000), (4, 1500), (8, 500)])
def test_known_strengths_are_recovered_up_to_a_constant(k: int, count: int) -> None:
    """The intervals cover about 19 of 20 differences, and no estimate is far off."""
    true = np.random.default_rng(7).normal(size=10)
    fitted = strengths(sampled_rankings(true, k, count, seed=k), prior=None)
    np.testing.assert_allclose(fitted.values, true - true.mean(), atol=0.25)
    covered, z = 0, []
    for a in range(10):
        for b in range(a):
            gap = fitted.difference(f"{a:02d}", f"{b:02d}")
            assert gap.low is not None
            assert gap.high is not None
            assert gap.value is not None
            covered += gap.low <= true[a] - true[b] <= gap.high
            z.append((gap.value - (true[a] - true[b])) / ((gap.high - gap.low) / 3.92))
    assert covered >= 36
    assert 0.4 < np.std(z) < 1.6


def test_weights_scale_the_influence_of_judgements() -> None:
    weighted = strengths(wins("ab", "ba", "ba"), [1.0, 0.1, 0.1])
    assert by_name(weighted)["a"] > 0
    without_second = strengths(wins("ab", "ba"), [1.0, 0.0])
    assert without_second.probability("a", "b") == pytest.approx(strengths(wins("ab")).probability("a", "b") or 0)
    assert strengths(wins("ab"), [0.0]).groups == (("a",), ("b",))


def test_the_fit_converges_with_extreme_weights() -> None:
    judgements = wins("ab", "ba", "bc", "cb", "cd", "dc")
    fitted = strengths(judgements, [1e6, 1.0, 1e6, 1.0, 1e6, 1.0], prior=None)
    assert fitted.difference("a", "d").value == pytest.approx(3 * math.log(1e6), rel=1e-6)


JUDGEMENTS = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3).map(float), min_size=2, max_size=5),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(judgements=JUDGEMENTS, data=st.data())
def test_names_order_and_scale_change_nothing(judgements: Judgements, data: st.DataObject) -> None:
    values = by_name(strengths(judgements))
    shuffled = data.draw(st.permutations(judgements))
    np.testing.assert_allclose(list(by_name(strengths(shuffled)).values()), list(values.values()), atol=1e-7)
    swap = dict(zip("abcdef", data.draw(st.permutations("abcdef")), strict=True))
    renamed = by_name(strengths([{swap[name]: 10 * v - 3 for name, v in row.items()} for row in judgements]))
    for name, value in values.items():
        assert renamed[swap[name]] == pytest.approx(value, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(judgements=JUDGEMENTS)
def test_the_gradient_vanishes_at_the_maximum(judgements: Judgements) -> None:
    """With a prior of 1 a name's strength is its choices won minus those expected, written as a plain loop."""
    values = by_name(strengths(judgements))
    surplus = dict.fromkeys(values, 0.0)
    for worth in judgements:
        for value in set(worth.values()):
            tier = [name for name in worth if worth[name] == value]
            pool = [name for name in worth if worth[name] <= value]
            share = 1.0 if len(pool) > len(tier) else (len(tier) - 1) / len(tier)
            total = sum(math.exp(values[name]) for name in pool)
            for name in tier:
                surplus[name] += share
            for name in pool:
                surplus[name] -= share * len(tier) * math.exp(values[name]) / total
    for name, value in values.items():
        assert value == pytest.approx(surplus[name], abs=1e-6)


def test_all_orders_of_three_equally_often_give_equal_strengths() -> None:
    judgements = [dict(zip(order, (2.0, 1.0, 0.0), strict=True)) for order in permutations("abc")]
    np.testing.assert_allclose(strengths(judgements, prior=None).values, 0.0, atol=1e-9)
