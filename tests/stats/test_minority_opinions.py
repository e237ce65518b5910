"""Minority views: planted ones are detected, slips are not, and each threshold counts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

from gnomon.core.errors import ConfigError
from gnomon.stats.minority_opinions import MinorityView, minority_views
from gnomon.stats.votes import Vote

ANNOTATORS = "ABCDXY"


def two_against_four() -> list[Vote]:
    """Ten items labeled `a`, but X and Y label 0 to 3 `b`, X alone labels 4 `b`, and D alone labels 9 `tie`."""
    dissent = {("X", n): "b" for n in range(5)} | {("Y", n): "b" for n in range(4)} | {("D", 9): "tie"}
    return [Vote(name, n, dissent.get((name, n), "a")) for n in range(10) for name in ANNOTATORS]


def test_each_threshold_decides_whether_two_allies_are_a_minority() -> None:
    """X and Y agree on 4 of the 5 items on which either dissents: an overlap of 0.8. Lone slips are no view."""
    views = minority_views(two_against_four())
    assert views == [MinorityView(n, "a", "b", ("X", "Y"), ("X", "Y"), 6) for n in range(4)]
    assert views[0].share == pytest.approx(2 / 6)
    assert len(minority_views(two_against_four(), min_overlap=0.8)) == 4
    assert minority_views(two_against_four(), min_overlap=0.81) == []
    assert len(minority_views(two_against_four(), min_shared_items=4)) == 4
    assert minority_views(two_against_four(), min_shared_items=5) == []
    assert minority_views(two_against_four(), min_share=0.34) == []
    assert minority_views(two_against_four(), min_members=3) == []


def test_an_annotator_who_joins_once_is_listed_but_is_no_ally() -> None:
    votes = [*two_against_four(), *(Vote(name, 0, "a") for name in "EFG")]
    votes = [Vote("D", 0, "b") if (v.annotator, v.item) == ("D", 0) else v for v in votes]
    (view,) = [view for view in minority_views(votes) if view.item == 0]
    assert (view.annotators, view.company, view.votes) == (("D", "X", "Y"), ("X", "Y"), 9)


def test_dissenters_with_different_labels_are_no_allies_and_a_split_has_no_minority() -> None:
    apart = [
        Vote(v.annotator, v.item, "tie") if v.annotator == "Y" and v.label == "b" else v
        for v in two_against_four()
    ]
    assert minority_views(apart) == []
    split = [vote for vote in two_against_four() if vote.annotator in "ABXY"]  # 2 against 2: disputed
    assert minority_views(split) == []


def test_allies_count_only_where_both_are_in_the_minority() -> None:
    """X and Y are allies, and V and W; on item 8 X and V label `b` together, and neither has an ally there."""
    dissent = {(name, n): "b" for n in range(4) for name in "XY"} | {
        (name, n): "b" for n in range(4, 8) for name in "VW"
    }
    dissent |= {("X", 8): "b", ("V", 8): "b"}
    views = minority_views([Vote(name, n, dissent.get((name, n), "a")) for n in range(9) for name in "ABCDXYVW"])
    assert [(view.item, view.company) for view in views] == [
        (n, ("X", "Y") if n < 4 else ("V", "W")) for n in range(8)
    ]


def test_the_latest_vote_counts() -> None:
    corrected = [Vote("Y", 0, "a", when=1.0), Vote("Y", 1, "a", when=1.0), *two_against_four()]
    assert minority_views(corrected) == []  # they agree on 2 items only
    assert [view.item for view in minority_views(corrected, min_shared_items=2, min_overlap=0.4)] == [2, 3]


def noisy(seed: int, allies: int) -> tuple[list[Vote], set[int]]:
    """Ten annotators, 100 items of three labels, slips of 15%; the allies dissent together on 20 items."""
    rng = random.Random(seed)
    dissenting = set(rng.sample(range(100), 20))
    votes = []
    for item in range(100):
        truth = rng.choice("abc")
        dissent = rng.choice([label for label in "abc" if label != truth])
        for number in range(10):
            label = dissent if number < allies and item in dissenting else truth
            votes.append(Vote(f"r{number}", item, rng.choice("abc") if rng.random() < 0.15 else label))
    return votes, dissenting


def test_a_planted_view_is_detected_and_slips_alone_are_not() -> None:
    detected = hits = false = 0
    for seed in range(5):
        votes, dissenting = noisy(seed, allies=3)
        items = {view.item for view in minority_views(votes) if set(view.company) <= {"r0", "r1", "r2"}}
        detected, hits = detected + len(items), hits + len(items & dissenting)
        false += len(minority_views(noisy(seed, allies=0)[0]))
    assert hits >= 0.8 * 5 * 20
    assert hits >= 0.9 * detected
    assert false == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_views_do_not_depend_on_the_order_of_votes_or_the_names_of_items(seed: int) -> None:
    votes, _ = noisy(seed, allies=2)
    views = minority_views(votes)
    mixed = random.Random(seed).sample(votes, len(votes))
    assert minority_views(mixed) == views
    renamed = minority_views([Vote(v.annotator, f"item {v.item}", v.label) for v in votes])
    assert {(v.item, v.company) for v in renamed} == {(f"item {v.item}", v.company) for v in views}


def test_thresholds_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_members is 1 and min_shared_items 3; raise"):
        minority_views([], min_members=1)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        minority_views([], min_share=20)
    assert minority_views([]) == []
