from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import ConfigError
from gnomon.stats.minority_opinions import MinorityView, minority_views
from gnomon.stats.votes import Vote

PEOPLE = "ABCDXY"


def two_against_four() -> list[Vote]:
    """Ten items that all call `a`, but: X and Y say `b` of 0 to 3, and X alone of 4. D slips on 0, with them."""
    said = {("X", n): "b" for n in range(5)} | {("Y", n): "b" for n in range(4)} | {("D", 9): "tie"}
    return [Vote(who, n, said.get((who, n), "a")) for n in range(10) for who in PEOPLE]


def test_two_who_keep_company() -> None:
    """Together on 4 of the 5 items that either left: an overlap of 0.8. Lone slips are no view."""
    views = minority_views(two_against_four())
    assert views == [MinorityView(n, "a", "b", ("X", "Y"), ("X", "Y"), 6) for n in range(4)]
    assert views[0].share == pytest.approx(2 / 6)
    assert len(minority_views(two_against_four(), least_overlap=0.8)) == 4
    assert minority_views(two_against_four(), least_overlap=0.81) == []
    assert len(minority_views(two_against_four(), least_together=4)) == 4
    assert minority_views(two_against_four(), least_together=5) == []
    assert minority_views(two_against_four(), least_share=0.34) == []
    assert minority_views(two_against_four(), least_voices=3) == []


def test_who_joins_once_is_named_but_keeps_no_company() -> None:
    votes = [*two_against_four(), *(Vote(who, 0, "a") for who in "EFG")]
    votes = [Vote("D", 0, "b") if (v.annotator, v.item) == ("D", 0) else v for v in votes]
    (view,) = [view for view in minority_views(votes) if view.item == 0]
    assert (view.annotators, view.company, view.voices) == (("D", "X", "Y"), ("X", "Y"), 9)


def test_different_labels_are_different_views_and_a_split_has_no_minority() -> None:
    apart = [
        Vote(v.annotator, v.item, "tie") if v.annotator == "Y" and v.label == "b" else v
        for v in two_against_four()
    ]
    assert minority_views(apart) == []
    split = [vote for vote in two_against_four() if vote.annotator in "ABXY"]  # 2 against 2: disputed
    assert minority_views(split) == []


def test_company_counts_within_one_view() -> None:
    """X keeps company with Y and V with W; where X and V say `b` together once, neither has company there."""
    said = {(who, n): "b" for n in range(4) for who in "XY"} | {
        (who, n): "b" for n in range(4, 8) for who in "VW"
    }
    said |= {("X", 8): "b", ("V", 8): "b"}
    views = minority_views([Vote(who, n, said.get((who, n), "a")) for n in range(9) for who in "ABCDXYVW"])
    assert [(view.item, view.company) for view in views] == [
        (n, ("X", "Y") if n < 4 else ("V", "W")) for n in range(8)
    ]


def test_the_latest_voice_counts() -> None:
    corrected = [Vote("Y", 0, "a", when=1.0), Vote("Y", 1, "a", when=1.0), *two_against_four()]
    assert minority_views(corrected) == []  # together on 2 only
    assert [view.item for view in minority_views(corrected, least_together=2, least_overlap=0.4)] == [2, 3]


def noisy(seed: int, allies: int) -> tuple[list[Vote], set[int]]:
    """Ten people, 100 items of three labels, slips of 15%; the allies share another view of 20 items."""
    rng = random.Random(seed)
    other = set(rng.sample(range(100), 20))
    votes = []
    for item in range(100):
        truth = rng.choice("abc")
        theirs = rng.choice([label for label in "abc" if label != truth])
        for who in range(10):
            view = theirs if who < allies and item in other else truth
            votes.append(Vote(f"r{who}", item, rng.choice("abc") if rng.random() < 0.15 else view))
    return votes, other


def test_a_planted_view_is_found_among_slips_and_slips_alone_are_none() -> None:
    found = hits = false = 0
    for seed in range(5):
        votes, other = noisy(seed, allies=3)
        items = {view.item for view in minority_views(votes) if set(view.company) <= {"r0", "r1", "r2"}}
        found, hits = found + len(items), hits + len(items & other)
        false += len(minority_views(noisy(seed, allies=0)[0]))
    assert hits >= 0.8 * 5 * 20
    assert hits >= 0.9 * found
    assert false == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_votes_and_the_names_of_items_change_nothing(seed: int) -> None:
    votes, _ = noisy(seed, allies=2)
    views = minority_views(votes)
    mixed = random.Random(seed).sample(votes, len(votes))
    assert minority_views(mixed) == views
    moved = minority_views([Vote(v.annotator, f"item {v.item}", v.label) for v in votes])
    assert {(v.item, v.company) for v in moved} == {(f"item {v.item}", v.company) for v in views}


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="two voices or more"):
        minority_views([], least_voices=1)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        minority_views([], least_share=20)
    assert minority_views([]) == []
