from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.stats.dawid_skene import Consensus, FloatArray, IntArray, dawid_skene, majority, vote_shares
from gnomon.stats.votes import Vote

# Dawid and Skene 1979, table 1: 45 patients, and what five observers said of each, the first of them three times.
OBSERVERS = "1112345"
PATIENTS = (
    "1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 "
    "1111111 2223212 1211111 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 "
    "1111111 1111111 2322222 1111111 1111111 1121121 1111111 3333233 1111111 2222222 2223232 4334343 "
    "2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222"
)


def anaesthetists() -> list[Vote]:
    return [
        Vote(who, number, int(label))
        for number, labels in enumerate(PATIENTS.split(), start=1)
        for who, label in zip(OBSERVERS, labels, strict=True)
    ]


def simulated(
    seed: int, items: int, confusion: FloatArray, priors: list[float], asked: float = 1.0
) -> tuple[list[Vote], IntArray]:
    """Votes of raters with known confusion [A, L, L], and the truth; each rater sees an item with P = asked."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(priors), size=items, p=priors)
    votes = [
        Vote(f"r{rater}", item, int(rng.choice(len(priors), p=confusion[rater, truth[item]])))
        for item in range(items)
        for rater in range(len(confusion))
        if rater == 0 or rng.random() < asked
    ]
    return votes, truth


def sharp(accuracies: list[float], labels: int) -> FloatArray:
    """Confusion of raters who err evenly: [A, L, L]."""
    return np.array([(a - (1 - a) / (labels - 1)) * np.eye(labels) + (1 - a) / (labels - 1) for a in accuracies])


def test_the_anaesthetists() -> None:
    """The published data; figures of a separate implementation that runs until nothing moves."""
    found = dawid_skene(anaesthetists())
    assert found.converged
    assert found.log_likelihood == pytest.approx(-192.8908812142, abs=1e-7)
    np.testing.assert_allclose(found.priors, [0.3996, 0.422, 0.1118, 0.0667], atol=5e-5)
    first = [[0.8895, 0.1105, 0, 0], [0.0706, 0.8764, 0.053, 0], [0, 0.3388, 0.6612, 0], [0, 0, 0.5556, 0.4444]]
    np.testing.assert_allclose(found.confusion[found.annotators.index("1")], first, atol=5e-5)
    truth, most = found.truth(), majority(anaesthetists())
    assert [list(truth.values()).count(label) for label in found.labels] == [18, 19, 5, 3]
    differing = {patient: (most[patient], truth[patient]) for patient in truth if most[patient] != truth[patient]}
    assert differing == {2: (3, 4), 12: (None, 3), 36: (3, 4)}  # patient 12: as many 2 as 3


def test_it_ends_by_the_likelihood_and_never_falls() -> None:
    climb = [dawid_skene(anaesthetists(), most_steps=steps) for steps in (1, 2, 4, 8, 16)]
    assert not any(found.converged for found in climb)
    assert [found.steps for found in climb] == [1, 2, 4, 8, 16]
    heights = [found.log_likelihood for found in climb]
    assert heights == sorted(heights)
    assert heights[2] < -192.9  # four steps are too few


def test_one_step_by_hand() -> None:
    """A says x: 1, y: 2; B says x: 1, y: 1. Shares at the start: x is 1; y is 1 or 2, one half each.

    p = 3/4, 1/4. A's row of 1: (1, 1/2) / (3/2) = 2/3, 1/3; of 2: 0, 1. B always says 1. Then
    x: 3/4 * 2/3 = 1/2 and 1/4 * 0; y: 3/4 * 1/3 = 1/4 and 1/4 * 1 = 1/4. So the posterior is what it was, and
    the likelihood is 1/2 * 1/2.
    """
    votes = [Vote("A", "x", 1), Vote("A", "y", 2), Vote("B", "x", 1), Vote("B", "y", 1)]
    found = dawid_skene(votes)
    np.testing.assert_allclose(found.priors, [0.75, 0.25])
    np.testing.assert_allclose(found.confusion, [[[2 / 3, 1 / 3], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    np.testing.assert_allclose(found.expected_votes, [[1.5, 0.5], [1.5, 0.5]])
    np.testing.assert_allclose(found.posterior, [[1.0, 0.0], [0.5, 0.5]])
    assert found.log_likelihood == pytest.approx(2 * math.log(0.5))
    assert found.truth() == {"x": 1, "y": None}


def test_what_an_annotator_never_met_is_undefined() -> None:
    """B saw only items that everybody calls `a`: B's row of `b` rests on nothing, and is not 0."""
    votes = [Vote("A", n, "a" if n < 3 else "b") for n in range(6)] + [Vote("B", n, "a") for n in range(3)]
    found = dawid_skene(votes)
    np.testing.assert_array_equal(found.confusion[1], [[1, 0], [math.nan, math.nan]])
    np.testing.assert_array_equal(found.expected_votes, [[3, 3], [3, 0]])
    assert found.truth() == majority(votes)
    assert found.log_likelihood == pytest.approx(6 * math.log(0.5))
    with pytest.raises(DataError, match="no votes"):
        dawid_skene([])


def test_an_unmet_class_is_not_ruled_out() -> None:
    """C saw x alone, which A and C call `a`. A misses half of the `b`, so x may well be one of them."""
    votes = [Vote(who, n, "b") for who in "BD" for n in range(8)] + [Vote("A", n, "ab"[n % 2]) for n in range(8)]
    found = dawid_skene([*votes, Vote("A", "x", "a"), Vote("C", "x", "a")])
    assert found.posterior[found.items.index("x"), found.labels.index("b")] > 0.05


def test_thousands_of_votes_on_one_item_do_not_underflow() -> None:
    votes = [Vote(f"r{n}", item, "ab"[(n + item) % 3 == 0]) for n in range(3000) for item in range(3)]
    found = dawid_skene(votes, most_steps=50)
    assert np.isfinite(found.log_likelihood)
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1.0)


def test_known_raters_are_recovered_where_votes_are_missing() -> None:
    """Within four standard errors of the truth; and better than heads counted."""
    confusion = sharp([0.9, 0.8, 0.7, 0.45, 0.4, 0.4], 3)
    confusion[5] = [[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]  # swaps the first two, reliably
    votes, truth = simulated(1, 3000, confusion, [0.5, 0.3, 0.2], asked=0.8)
    found = dawid_skene(votes)
    assert found.converged
    error = np.sqrt(confusion * (1 - confusion) / found.expected_votes[:, :, None])
    # The truth is itself estimated, which widens the error; by half is enough here.
    assert (np.abs(found.confusion - confusion) < 4 * 1.5 * error).all()
    np.testing.assert_allclose(found.priors, [0.5, 0.3, 0.2], atol=0.04)
    learnt, counted = found.truth(), majority(votes)
    right = np.mean([learnt[n] == truth[n] for n in range(3000)])
    heads = np.mean([counted[n] == truth[n] for n in range(3000)])
    assert right > heads + 0.05
    # The posterior means what it says: right as often as it promises.
    assert right == pytest.approx(found.posterior.max(axis=1).mean(), abs=0.02)


def assert_same(one: Consensus, other: Consensus) -> None:
    np.testing.assert_allclose(one.posterior, other.posterior, atol=1e-6)
    np.testing.assert_allclose(one.confusion, other.confusion, atol=1e-6)
    np.testing.assert_allclose(one.priors, other.priors, atol=1e-6)
    assert one.log_likelihood == pytest.approx(other.log_likelihood)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), labels=st.integers(2, 4), raters=st.integers(2, 5))
def test_names_and_order_change_nothing(seed: int, labels: int, raters: int) -> None:
    rng = np.random.default_rng(seed)
    confusion = sharp(list(rng.uniform(0.5, 0.95, raters)), labels)
    votes, _ = simulated(seed, 40, confusion, [1 / labels] * labels, asked=0.7)
    found = dawid_skene(votes, most_steps=20)
    mixed = dawid_skene([votes[n] for n in rng.permutation(len(votes))], most_steps=20)
    assert mixed.log_likelihood == found.log_likelihood
    np.testing.assert_array_equal(mixed.posterior, found.posterior)
    people, things, words = rng.permutation(raters), rng.permutation(40), rng.permutation(labels)
    renamed = [
        Vote(f"r{people[int(v.annotator[1:])]}", int(things[int(str(v.item))]), int(words[int(str(v.label))]))
        for v in votes
    ]
    other = dawid_skene(renamed, most_steps=20)
    place = [other.labels.index(int(words[int(str(label))])) for label in found.labels]
    who = [other.annotators.index(f"r{people[int(name[1:])]}") for name in found.annotators]
    what = [other.items.index(int(things[int(str(item))])) for item in found.items]
    back = Consensus(
        found.labels,
        found.annotators,
        found.items,
        other.priors[place],
        other.confusion[np.ix_(who, place, place)],
        other.expected_votes[np.ix_(who, place)],
        other.posterior[np.ix_(what, place)],
        other.log_likelihood,
        other.steps,
        other.converged,
    )
    assert_same(found, back)
    expected = {
        int(things[int(str(item))]): None if label is None else int(words[int(str(label))])
        for item, label in majority(votes).items()
    }
    assert majority(renamed) == expected


def test_majority_by_heads_and_by_weight() -> None:
    """On x one reliable voice (0.9) against two poor ones (0.4 + 0.3); on y 0.3 each; z has only voices of 0."""
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
