"""Strengths from pairs and rankings, against published figures, figures by hand, and strengths that are known."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import FIGURES
from scipy.optimize import brentq

from gnomon.core.errors import ConfigError, DataError
from gnomon.stats.bradley_terry import Strengths, strengths
from gnomon.stats.intervals import Estimate

Said = list[dict[str, float]]


def beats(*pairs: str) -> Said:
    return [{pair[0]: 1.0, pair[1]: 0.0} for pair in pairs]


def by_name(found: Strengths) -> dict[str, float]:
    return dict(zip(found.names, found.values.tolist(), strict=True))


def drawn(true: np.ndarray[tuple[int], np.dtype[np.float64]], k: int, count: int, seed: int) -> Said:
    """Rankings of k drawn from the model: the order of exponential times with the rates exp(strength)."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        some = rng.choice(true.size, k, replace=False)
        times = rng.exponential(np.exp(-true[some]))
        made.append({f"{n:02d}": -float(time) for n, time in zip(some, times, strict=True)})
    return made


def test_published() -> None:
    figures = FIGURES["bradley_terry_wikipedia"]
    said = beats(*(winner + loser for winner, loser, _ in figures["wins"]))
    found = strengths(said, [wins for *_, wins in figures["wins"]], prior=None)
    for name, value in by_name(found).items():
        assert math.exp(value) == pytest.approx(figures["strength_geomean1"][name], abs=5e-5)
    repeated = [one for one, (*_, wins) in zip(said, figures["wins"], strict=True) for _ in range(wins)]
    np.testing.assert_allclose(strengths(repeated, prior=None).values, found.values, atol=1e-9)


def test_two_by_hand() -> None:
    """Three wins, a loss and two ties: 4 of 6 points, so odds of 2; the information is 6 * 2/3 * 1/3 = 4/3."""
    said = [*beats("ab", "ab", "ab", "ba"), {"a": 0.5, "b": 0.5}, {"b": 3.0, "a": 3.0}]
    found = strengths(said, prior=None)
    assert found.probability("a", "b") == pytest.approx(2 / 3)
    gap, turned = found.difference("a", "b"), found.difference("b", "a")
    half = 1.959964 * math.sqrt(3 / 4)
    assert (gap.value, gap.low, gap.high) == pytest.approx((math.log(2), math.log(2) - half, math.log(2) + half))
    assert (turned.value, turned.high) == pytest.approx((-math.log(2), half - math.log(2)))


def test_the_prior_by_hand() -> None:
    """Three wins of three, strengths d/2 and -d/2: 3 (1 - σ(d)) - d/2 = 0 at the maximum of the posterior."""
    gap = brentq(lambda d: 3 / (1 + math.exp(d)) - d / 2, 0, 9)
    found = strengths(beats("ab", "ab", "ab"))
    assert found.difference("a", "b").value == pytest.approx(gap)
    assert found.probability("a", "b") == pytest.approx(0.78, abs=0.005)
    firm = strengths(beats("ab", "ab", "ab"), prior=0.1).probability("a", "b")
    loose = strengths(beats("ab", "ab", "ab"), prior=100).probability("a", "b")
    assert firm is not None
    assert loose is not None
    assert firm < 0.52
    assert loose > 0.99


def test_a_ranking_of_three_by_hand() -> None:
    """Twice abc, once bca, cab each: the likelihood, written out, has its only maximum where we say."""
    orders = ["abc", "abc", "bca", "cab"]
    found = strengths([{name: -float(place) for place, name in enumerate(order)} for order in orders], prior=None)
    values = by_name(found)

    def likelihood(at: dict[str, float]) -> float:
        total = 0.0
        for order in orders:
            total += at[order[0]] - math.log(sum(math.exp(at[name]) for name in order))
            total += at[order[1]] - math.log(sum(math.exp(at[name]) for name in order[1:]))
        return total

    here = likelihood(values)
    for name in values:
        for nudge in (1e-3, -1e-3):
            moved = likelihood({**values, name: values[name] + nudge})
            assert here - 1e-5 < moved < here
    assert sum(values.values()) == pytest.approx(0.0)


def test_ties_in_rankings_by_hand() -> None:
    """x above a tie of y and z, once: y and z are equal; x is chosen once of three and nothing else bears on it.

    With a prior of 1 the slope of x is 1 - p - x = 0 with p = e^x / (e^x + 2 e^(-x/2)).
    """
    found = by_name(strengths([{"x": 2.0, "y": 1.0, "z": 1.0}]))
    assert found["y"] == pytest.approx(found["z"])
    x = brentq(lambda v: 2 / (math.exp(1.5 * v) + 2) - v, 0, 2)
    assert found["x"] == pytest.approx(x)
    every = by_name(strengths([dict.fromkeys("xyz", 1.0)]))
    assert list(every.values()) == pytest.approx([0.0] * 3)


def test_what_nothing_links_is_not_compared() -> None:
    found = strengths([*beats("ab", "cd", "dc"), {"e": 1.0}])
    assert found.groups == (("a", "b"), ("c", "d"), ("e",))
    assert found.probability("a", "c") is None
    assert found.difference("a", "e") == Estimate(None, None, None)
    assert found.probability("c", "d") == pytest.approx(0.5)
    # Each group is centred by itself.
    assert by_name(found)["a"] == pytest.approx(-by_name(found)["b"])


def test_without_a_prior_somebody_who_always_wins_has_no_strength() -> None:
    for said in (beats("ab", "ab"), beats("ab", "bc", "cb"), beats("xy", "yx", "ab", "bc", "ca", "ad")):
        with pytest.raises(DataError, match="have no end; give a prior"):
            strengths(said, prior=None)
        assert np.isfinite(strengths(said).values).all()
    circle = strengths(beats("ab", "bc", "ca"), prior=None)
    np.testing.assert_allclose(circle.values, 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("said", "weights", "message"),
    [
        ([], None, "nothing is compared"),
        (beats("ab"), [1.0, 2.0], "1 judgements need as many weights"),
        (beats("ab"), [-1.0], "weight -1.0"),
        (beats("ab"), [float("nan")], "weight nan"),
        ([{"a": float("inf"), "b": 1.0}], None, "not finite"),
    ],
)
def test_what_cannot_be_is_refused(said: Said, weights: list[float] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        strengths(said, weights)
    for prior in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="standard deviation above 0"):
            strengths(beats("ab"), prior=prior)


@pytest.mark.parametrize(("k", "count"), [(2, 6000), (4, 1500), (8, 500)])
def test_known_strengths_are_recovered_up_to_a_constant(k: int, count: int) -> None:
    """Every difference lies within its interval about 19 times in 20, and none is far off."""
    true = np.random.default_rng(7).normal(size=10)
    found = strengths(drawn(true, k, count, seed=k), prior=None)
    np.testing.assert_allclose(found.values, true - true.mean(), atol=0.25)
    held, z = 0, []
    for a in range(10):
        for b in range(a):
            gap = found.difference(f"{a:02d}", f"{b:02d}")
            assert gap.low is not None
            assert gap.high is not None
            assert gap.value is not None
            held += gap.low <= true[a] - true[b] <= gap.high
            z.append((gap.value - (true[a] - true[b])) / ((gap.high - gap.low) / 3.92))
    assert held >= 36
    assert 0.4 < np.std(z) < 1.6


def test_weights_say_whom_to_believe() -> None:
    found = strengths(beats("ab", "ba", "ba"), [1.0, 0.1, 0.1])
    assert by_name(found)["a"] > 0
    unheard = strengths(beats("ab", "ba"), [1.0, 0.0])
    assert unheard.probability("a", "b") == pytest.approx(strengths(beats("ab")).probability("a", "b") or 0)
    assert strengths(beats("ab"), [0.0]).groups == (("a",), ("b",))


def test_large_numbers_and_long_odds_end() -> None:
    said = beats("ab", "ba", "bc", "cb", "cd", "dc")
    found = strengths(said, [1e6, 1.0, 1e6, 1.0, 1e6, 1.0], prior=None)
    assert found.difference("a", "d").value == pytest.approx(3 * math.log(1e6), rel=1e-6)


JUDGEMENTS = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3).map(float), min_size=2, max_size=5),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(said=JUDGEMENTS, data=st.data())
def test_names_order_and_scale_change_nothing(said: Said, data: st.DataObject) -> None:
    found = by_name(strengths(said))
    shuffled = data.draw(st.permutations(said))
    np.testing.assert_allclose(list(by_name(strengths(shuffled)).values()), list(found.values()), atol=1e-7)
    swap = dict(zip("abcdef", data.draw(st.permutations("abcdef")), strict=True))
    renamed = by_name(strengths([{swap[name]: 10 * v - 3 for name, v in one.items()} for one in said]))
    for name, value in found.items():
        assert renamed[swap[name]] == pytest.approx(value, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(said=JUDGEMENTS)
def test_at_the_maximum_nothing_pulls(said: Said) -> None:
    """With a prior of 1 a name's strength is its choices won less those expected, written as a plain loop."""
    values = by_name(strengths(said))
    pull = dict.fromkeys(values, 0.0)
    for worth in said:
        for value in set(worth.values()):
            tier = [name for name in worth if worth[name] == value]
            pool = [name for name in worth if worth[name] <= value]
            share = 1.0 if len(pool) > len(tier) else (len(tier) - 1) / len(tier)
            total = sum(math.exp(values[name]) for name in pool)
            for name in tier:
                pull[name] += share
            for name in pool:
                pull[name] -= share * len(tier) * math.exp(values[name]) / total
    for name, value in values.items():
        assert value == pytest.approx(pull[name], abs=1e-6)


def test_every_order_of_three_equally_often_is_no_order() -> None:
    said = [dict(zip(order, (2.0, 1.0, 0.0), strict=True)) for order in permutations("abc")]
    np.testing.assert_allclose(strengths(said, prior=None).values, 0.0, atol=1e-9)
