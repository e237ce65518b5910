"""Dawid and Skene's EM against the published data, steps by hand and simulated annotators; majorities by hand."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gnomon.core.errors import DataError
from gnomon.stats.dawid_skene import DawidSkeneEstimate, FloatArray, IntArray, dawid_skene, majority, vote_shares
from gnomon.stats.votes import Vote


def most_probable(estimate: DawidSkeneEstimate) -> dict[Hashable, Hashable | None]:
    """Each item's most probable label; None where two are equally probable."""
    best: dict[Hashable, Hashable | None] = {}
    for item, row in zip(estimate.items, estimate.posterior.tolist(), strict=True):
        shares = zip(estimate.labels, row, strict=True)
        labels = [label for label, share in shares if math.isclose(share, max(row))]
        best[item] = labels[0] if len(labels) == 1 else None
    return best


# Dawid and Skene 1979, table 1: labels of 45 patients by five observers; the first labels each three times.
OBSERVERS = "1112345"
PATIENTS = (
    "1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 "
    "1111111 2223212 1211111 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 "
    "1111111 1111111 2322222 1111111 1111111 1121121 1111111 3333233 1111111 2222222 2223232 4334343 "
    "2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222"
)


def anaesthetists() -> list[Vote]:
    return [
        Vote(observer, number, int(label))
        for number, labels in enumerate(PATIENTS.split(), start=1)
        for observer, label in zip(OBSERVERS, labels, strict=True)
    ]


def simulated(
    seed: int, items: int, confusion: FloatArray, priors: list[float], coverage: float = 1.0
) -> tuple[list[Vote], IntArray]:
    """Votes of raters with known confusion [A, L, L], and the truth; a rater labels an item with P = coverage."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(priors), size=items, p=priors)
    votes = [
        Vote(f"r{rater}", item, int(rng.choice(len(priors), p=confusion[rater, truth[item]])))
        for item in range(items)
        for rater in range(len(confusion))
        if rater == 0 or rng.random() < coverage
    ]
    return votes, truth


def even_confusion(accuracies: list[float], labels: int) -> FloatArray:
    """Confusion of raters whose errors are spread evenly over the other labels, [A, L, L]."""
    return np.array([(a - (1 - a) / (labels - 1)) * np.eye(labels) + (1 - a) / (labels - 1) for a in accuracies])


def test_dawid_skene_on_the_published_data() -> None:
    """Figures from a separate implementation, run to a fixed point."""
    estimate = dawid_skene(anaesthetists())
    assert estimate.converged
    assert estimate.log_likelihood == pytest.approx(-192.8908812142, abs=1e-7)
    np.testing.assert_allclose(estimate.priors, [0.3996, 0.422, 0.1118, 0.0667], atol=5e-5)
    first = [[0.8895, 0.1105, 0, 0], [0.0706, 0.8764, 0.053, 0], [0, 0.3388, 0.6612, 0], [0, 0, 0.5556, 0.4444]]
    np.testing.assert_allclose(estimate.confusion[estimate.annotators.index("1")], first, atol=5e-5)
    truth, counted = most_probable(estimate), majority(anaesthetists())
    assert [list(truth.values()).count(label) for label in estimate.labels] == [18, 19, 5, 3]
    differing = {
        patient: (counted[patient], truth[patient]) for patient in truth if counted[patient] != truth[patient]
    }
    assert differing == {2: (3, 4), 12: (None, 3), 36: (3, 4)}  # patient 12: as many 2 as 3


def test_the_likelihood_never_falls_before_convergence() -> None:
    stopped = [dawid_skene(anaesthetists(), max_steps=steps) for steps in (1, 2, 4, 8, 16)]
    assert not any(estimate.converged for estimate in stopped)
    assert [estimate.steps for estimate in stopped] == [1, 2, 4, 8, 16]
    likelihoods = [estimate.log_likelihood for estimate in stopped]
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[2] < -192.9  # four steps are too few


def test_one_step_by_hand() -> None:
    """A labels x 1 and y 2; B labels both 1. Shares at the start: x is 1; y is 1 or 2, one half each.

    p = 3/4, 1/4. A's row of 1: (1, 1/2) / (3/2) = 2/3, 1/3; of 2: 0, 1. B's label is always 1. Then
    x: 3/4 * 2/3 = 1/2 and 1/4 * 0; y: 3/4 * 1/3 = 1/4 and 1/4 * 1 = 1/4. So the posterior does not change, and
    the likelihood is 1/2 * 1/2.
    """
    votes = [Vote("A", "x", 1), Vote("A", "y", 2), Vote("B", "x", 1), Vote("B", "y", 1)]
    estimate = dawid_skene(votes)
    np.testing.assert_allclose(estimate.priors, [0.75, 0.25])
    np.testing.assert_allclose(estimate.confusion, [[[2 / 3, 1 / 3], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    np.testing.assert_allclose(estimate.expected_votes, [[1.5, 0.5], [1.5, 0.5]])
    np.testing.assert_allclose(estimate.posterior, [[1.0, 0.0], [0.5, 0.5]])
    assert estimate.log_likelihood == pytest.approx(2 * math.log(0.5))
    assert most_probable(estimate) == {"x": 1, "y": None}


def test_confusion_of_a_class_without_votes_is_nan() -> None:
    """B labeled only items whose votes are all `a`: B's row of `b` has no data, and is not 0."""
    votes = [Vote("A", n, "a" if n < 3 else "b") for n in range(6)] + [Vote("B", n, "a") for n in range(3)]
    estimate = dawid_skene(votes)
    np.testing.assert_array_equal(estimate.confusion[1], [[1, 0], [math.nan, math.nan]])
    np.testing.assert_array_equal(estimate.expected_votes, [[3, 3], [3, 0]])
    assert most_probable(estimate) == majority(votes)
    assert estimate.log_likelihood == pytest.approx(6 * math.log(0.5))
    with pytest.raises(DataError, match="no votes"):
        dawid_skene([])


def test_a_class_without_votes_is_not_excluded() -> None:
    """C labeled x alone, `a` as A did. A misses half of the `b`, so x may well be one of them."""
    votes = [Vote(name, n, "b") for name in "BD" for n in range(8)]
    votes += [Vote("A", n, "ab"[n % 2]) for n in range(8)]
    estimate = dawid_skene([*votes, Vote("A", "x", "a"), Vote("C", "x", "a")])
    assert estimate.posterior[estimate.items.index("x"), estimate.labels.index("b")] > 0.05


def test_thousands_of_votes_on_one_item_do_not_underflow() -> None:
    votes = [Vote(f"r{n}", item, "ab"[(n + item) % 3 == 0]) for n in range(3000) for item in range(3)]
    estimate = dawid_skene(votes, max_steps=50)
    assert np.isfinite(estimate.log_likelihood)
    np.testing.assert_allclose(estimate.posterior.sum(axis=1), 1.0)


def test_known_raters_are_recovered_where_votes_are_missing() -> None:
    """Confusion is within four standard errors of the truth; labels are better than the majority's."""
    confusion = even_confusion([0.9, 0.8, 0.7, 0.45, 0.4, 0.4], 3)
    confusion[5] = [[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]  # swaps the first two, reliably
    votes, truth = simulated(1, 3000, confusion, [0.5, 0.3, 0.2], coverage=0.8)
    estimate = dawid_skene(votes)
    assert estimate.converged
    error = np.sqrt(confusion * (1 - confusion) / estimate.expected_votes[:, :, None])
    # The truth is estimated too, which widens the error; a factor of 1.5 is enough here.
    assert (np.abs(estimate.confusion - confusion) < 4 * 1.5 * error).all()
    np.testing.assert_allclose(estimate.priors, [0.5, 0.3, 0.2], atol=0.04)
    estimated, counted = most_probable(estimate), majority(votes)
    accuracy = np.mean([estimated[n] == truth[n] for n in range(3000)])
    majority_accuracy = np.mean([counted[n] == truth[n] for n in range(3000)])
    assert accuracy > majority_accuracy + 0.05
    # The posterior is calibrated.
    assert accuracy == pytest.approx(estimate.posterior.max(axis=1).mean(), abs=0.02)


def assert_same(one: DawidSkeneEstimate, other: DawidSkeneEstimate) -> None:
    np.testing.assert_allclose(one.posterior, other.posterior, atol=1e-6)
    np.testing.assert_allclose(one.confusion, other.confusion, atol=1e-6)
    np.testing.assert_allclose(one.priors, other.priors, atol=1e-6)
    assert one.log_likelihood == pytest.approx(other.log_likelihood)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), labels=st.integers(2, 4), raters=st.integers(2, 5))
def test_names_and_order_change_nothing(seed: int, labels: int, raters: int) -> None:
    rng = np.random.default_rng(seed)
    confusion = even_confusion(list(rng.uniform(0.5, 0.95, raters)), labels)
    votes, _ = simulated(seed, 40, confusion, [1 / labels] * labels, coverage=0.7)
    estimate = dawid_skene(votes, max_steps=20)
    mixed = dawid_skene([votes[n] for n in rng.permutation(len(votes))], max_steps=20)
    assert mixed.log_likelihood == estimate.log_likelihood
    np.testing.assert_array_equal(mixed.posterior, estimate.posterior)
    people, things, words = rng.permutation(raters), rng.permutation(40), rng.permutation(labels)
    renamed = [
        Vote(f"r{people[int(v.annotator[1:])]}", int(things[int(str(v.item))]), int(words[int(str(v.label))]))
        for v in votes
    ]
    other = dawid_skene(renamed, max_steps=20)
    label_at = [other.labels.index(int(words[int(str(label))])) for label in estimate.labels]
    annotator_at = [other.annotators.index(f"r{people[int(name[1:])]}") for name in estimate.annotators]
    item_at = [other.items.index(int(things[int(str(item))])) for item in estimate.items]
    back = DawidSkeneEstimate(
        estimate.labels,
        estimate.annotators,
        estimate.items,
        other.priors[label_at],
        other.confusion[np.ix_(annotator_at, label_at, label_at)],
        other.expected_votes[np.ix_(annotator_at, label_at)],
        other.posterior[np.ix_(item_at, label_at)],
        other.log_likelihood,
        other.steps,
        other.converged,
    )
    assert_same(estimate, back)
    expected = {
        int(things[int(str(item))]): None if label is None else int(words[int(str(label))])
        for item, label in majority(votes).items()
    }
    assert majority(renamed) == expected


def test_majority_by_count_and_by_weight() -> None:
    """On x one vote of 0.9 against 0.4 + 0.3; on y 0.3 on each side; the only vote on z weighs 0."""
    votes = [Vote("good", "x", "a"), Vote("poor", "x", "b"), Vote("weak", "x", "b")]
    votes += [Vote("weak", "y", "a"), Vote("weak", "y", "b"), Vote("none", "y", "b"), Vote("none", "z", "a")]
    assert majority(votes) == {"x": "b", "y": "b", "z": "a"}
    weights = {"good": 0.9, "poor": 0.4, "weak": 0.3, "none": 0.0}
    assert majority(votes, weights) == {"x": "a", "y": None, "z": None}
    shares = vote_shares(votes, weights)
    assert shares["x"] == pytest.approx({"a": 0.9 / 1.6, "b": 0.7 / 1.6})
    assert shares["z"] == {}
    # 0.1 + 0.2 is not 0.3 in floats, and yet the two sides are even.
    even = [Vote("p", 1, "a"), Vote("q", 1, "a"), Vote("r", 1, "b")]
    assert majority(even, {"p": 0.1, "q": 0.2, "r": 0.3}) == {1: None}
    for wrong in ({}, {"p": -1.0}, {"p": math.nan}):
        with pytest.raises(DataError, match="'p' has no weight"):
            majority(even[:1], wrong)
