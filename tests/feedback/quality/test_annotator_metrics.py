"""Metrics of annotators: figures by hand, published kappas, and simulated biases."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

from gnomon.core.errors import ConfigError
from gnomon.feedback.quality.annotator_metrics import Agreement, AnnotatorMetrics, annotator_metrics
from gnomon.feedback.task_types import Limits
from gnomon.stats.intervals import Share
from gnomon.stats.votes import Vote

NOTHING = Share(0, 0)


def of(name: str, metrics: list[AnnotatorMetrics]) -> AnnotatorMetrics:
    return next(one for one in metrics if one.annotator == name)


def test_share_with_its_interval() -> None:
    """Newcombe 1998, table I, method 3."""
    share = Share(81, 263)
    assert share.value == pytest.approx(0.30798, abs=5e-6)
    assert share.interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert share.off_half == pytest.approx(0.5 - 0.3662, abs=5e-5)
    assert share.biased is True
    assert Share(182, 263).off_half == pytest.approx(share.off_half)  # as far on the other side
    assert (Share(9, 16).off_half, Share(9, 16).biased) == (0.0, False)
    assert (NOTHING.value, NOTHING.interval, NOTHING.off_half, NOTHING.biased) == (None, None, None, None)


@pytest.mark.parametrize(
    ("table", "kappa"),
    [([[20, 5], [10, 15]], 0.4), ([[106, 10, 4], [22, 28, 10], [2, 12, 6]], 0.4285714)],
)
def test_agreement_with_one_other_annotator_is_cohens_kappa(table: list[list[int]], kappa: float) -> None:
    """Published tables; the second is of Fleiss, Cohen and Everitt 1969."""
    cells = [(row, column) for row, line in enumerate(table) for column, n in enumerate(line) for _ in range(n)]
    votes = [Vote("AB"[side], n, pair[side]) for n, pair in enumerate(cells) for side in (0, 1)]
    for one in annotator_metrics(votes):
        assert one.agreement.kappa == pytest.approx(kappa, abs=5e-8)
        assert one.agreement.votes == len(cells)


def test_agreement_with_the_rest_by_hand() -> None:
    """x: A a, B a, C b; y: all b; z: A alone, which does not count.

    A: one of two others agrees on x, both on y: 3/4. A's labels are a and b half each, the others' a with
    (1/2 + 0) / 2 and b with 3/4: by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2, kappa 1/2. C's label is always b, that of
    the others half of the time: 1/2 by chance, 1/2 observed, kappa 0.
    """
    labels = {"A": "ab", "B": "ab", "C": "bb"}
    votes = [Vote(who, "xy"[n], label) for who, given in labels.items() for n, label in enumerate(given)]
    metrics = annotator_metrics([*votes, Vote("A", "z", "tie")])
    assert of("A", metrics).agreement == Agreement(2, 0.75, 0.5, 0.5)
    assert of("C", metrics).agreement == Agreement(2, 0.5, 0.5, 0.0)
    assert of("A", metrics).votes == 3


def test_repeated_votes_are_not_compared_with_each_other() -> None:
    """A labels x a, a, b; B labels it a. Of A's three votes two agree; with B's one, two thirds of A's do."""
    votes = [Vote("A", "x", label) for label in "aab"] + [Vote("B", "x", "a")]
    a, b = annotator_metrics(votes)
    assert a.agreement.votes == 3
    assert a.agreement.observed == pytest.approx(2 / 3)
    assert b.agreement.votes == 1
    assert b.agreement.observed == pytest.approx(2 / 3)


def test_chance_agreement_weighs_the_others_labels_by_own_votes() -> None:
    """A labels x a twice and y b; B x a and y b. Two thirds of A's votes meet an a: by chance 4/9 + 1/9."""
    votes = [
        Vote("A", "x", "a"),
        Vote("A", "x", "a"),
        Vote("A", "y", "b"),
        Vote("B", "x", "a"),
        Vote("B", "y", "b"),
    ]
    assert annotator_metrics(votes)[0].agreement.by_chance == pytest.approx(5 / 9)


def test_undefined_agreement_is_none() -> None:
    alone = annotator_metrics([Vote("A", 1, "a"), Vote("B", 2, "a")])
    assert alone[0].agreement == Agreement(0, None, None, None)
    same = annotator_metrics([Vote(who, n, "a") for who in "ABC" for n in range(3)])
    assert same[0].agreement == Agreement(3, 1.0, 1.0, None)
    bare = annotator_metrics([Vote("A", 1, "a")])[0]
    assert bare == AnnotatorMetrics(
        "A", 1, NOTHING, alone[0].agreement, NOTHING, NOTHING, None, NOTHING, NOTHING, NOTHING
    )


def test_metrics_by_hand() -> None:
    """Ties and equal lengths are left out, the limits themselves are allowed, and whitespace is no reason."""
    votes = [
        Vote("A", 1, "a", seconds=2.0, chosen_first=True, chosen_length=9, other_length=3, reason="清楚"),
        Vote("A", 2, "b", seconds=3.0, chosen_first=True, chosen_length=5, other_length=5, reason="     "),
        Vote("A", 3, "tie", seconds=60.0, reason="both are right"),
        Vote("A", 4, "b", seconds=61.0, chosen_first=False, chosen_length=2, other_length=8),
        Vote("A", 5, "a", chosen_first=True, chosen_length=7, other_length=8, reason=""),
    ]
    gold = {1: "a", 2: "a", 3: "tie", 9: "a"}
    (metrics,) = annotator_metrics(votes, gold, Limits(min_seconds=3.0, max_seconds=60.0, min_reason_chars=2))
    assert metrics.gold == Share(2, 3)
    assert metrics.first == Share(3, 4)
    assert metrics.longer == Share(1, 3)
    assert metrics.seconds == 31.5
    assert (metrics.too_fast, metrics.too_slow) == (Share(1, 4), Share(1, 4))
    assert metrics.short_reasons == Share(2, 4)
    (unlimited,) = annotator_metrics(votes, gold)
    assert (unlimited.too_fast, unlimited.too_slow, unlimited.short_reasons) == (NOTHING, NOTHING, NOTHING)
    with pytest.raises(ConfigError, match="swap min_seconds and max_seconds"):
        Limits(min_seconds=60.0, max_seconds=3.0)


def crowd(seed: int, people: int, items: int, first: float, longer: float, right: float) -> list[Vote]:
    """Votes for the first or else the longer with these probabilities, otherwise correct ones with `right`."""
    rng = random.Random(seed)
    votes = []
    for item in range(items):
        truth, lengths = rng.choice("ab"), {"a": 10, "b": 20}
        for who in range(people):
            shown = rng.choice("ab")
            label = truth if rng.random() < right else "ab".replace(truth, "")
            if rng.random() < longer:
                label = "b"
            if rng.random() < first:
                label = shown
            other = "ab".replace(label, "")
            details = (label == shown, lengths[label], lengths[other])
            votes.append(Vote(f"r{who}", item, label, 0.0, None, *details))
    return votes


def covered(shares: list[Share], truth: float) -> float:
    inside = [share.interval is not None and share.interval[0] <= truth <= share.interval[1] for share in shares]
    return sum(inside) / len(inside)


def test_known_biases_lie_within_their_intervals() -> None:
    """The first is chosen with 0.4 + 0.6 / 2; 5% of the unbiased are flagged; 95% of the intervals cover."""
    biased = annotator_metrics(crowd(0, people=200, items=80, first=0.4, longer=0.0, right=0.8))
    assert covered([one.first for one in biased], 0.7) == pytest.approx(0.95, abs=0.045)
    assert sum(one.first.biased is True for one in biased) > 180
    unbiased = annotator_metrics(crowd(1, people=200, items=80, first=0.0, longer=0.0, right=0.8))
    assert sum(one.first.biased is True for one in unbiased) == pytest.approx(10, abs=9)
    # Half of the correct labels are b, the longer; with 0.3 it is chosen anyway.
    long = annotator_metrics(crowd(2, people=200, items=80, first=0.0, longer=0.3, right=0.5))
    assert covered([one.longer for one in long], 0.65) == pytest.approx(0.95, abs=0.045)


def test_known_agreement_is_recovered() -> None:
    """Two annotators with accuracies 0.9 and 0.7: 0.9 * 0.7 + 0.1 * 0.3 = 0.66 agree, kappa 0.32."""
    good = crowd(3, 1, 4000, 0.0, 0.0, 0.9)
    rng = random.Random(4)
    truth = {v.item: v.label if rng.random() < 0.9 else "ab".replace(str(v.label), "") for v in good}
    other = [Vote("poor", i, t if rng.random() < 0.7 else "ab".replace(str(t), "")) for i, t in truth.items()]
    for one in annotator_metrics(good + other, gold=truth):
        assert one.agreement.kappa == pytest.approx(0.32, abs=4 * 0.015)
        expected = 0.7 if one.annotator == "poor" else 0.9
        assert one.gold.value == pytest.approx(expected, abs=4 * 0.008)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_names_and_order_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    votes = [v for v in crowd(seed, 4, 12, 0.2, 0.2, 0.7) if rng.random() < 0.7]
    gold = {n: rng.choice("ab") for n in range(0, 12, 2)}
    swap = {"a": "b", "b": "a"}
    renamed = [
        Vote(
            v.annotator[::-1],
            -int(str(v.item)),
            swap[str(v.label)],
            0,
            None,
            v.chosen_first,
            v.chosen_length,
            v.other_length,
        )
        for v in rng.sample(votes, len(votes))
    ]
    original = {one.annotator: one for one in annotator_metrics(votes, gold)}
    restored = {
        one.annotator[::-1]: one
        for one in annotator_metrics(renamed, {-n: swap[label] for n, label in gold.items()})
    }
    assert original.keys() == restored.keys()
    for name, one in original.items():
        other = restored[name]
        assert (one.votes, one.gold, one.first, one.longer) == (
            other.votes,
            other.gold,
            other.first,
            other.longer,
        )
        assert one.agreement.observed == pytest.approx(other.agreement.observed)
        assert one.agreement.kappa == pytest.approx(other.agreement.kappa)
