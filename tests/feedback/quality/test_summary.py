"""All figures of a project in one piece, on votes that were counted by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from annotating import project, submit_choice, take

from gnomon.core.storage.files import to_json
from gnomon.feedback.quality.summary import QualityReport, quality_report
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.queue import NewJudgement


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "feedback.db")
    yield found
    found.close()


SAID = {"ann": "aabb", "bob": "aaba"}  # of items 0 to 3


def asked(store: Store) -> QualityReport:
    queue = project(store, 4, votes_per_item=2, max_votes=2, gold_rate=0)
    for who, better in SAID.items():
        for _ in range(4):
            task = take(queue, who)
            submit_choice(queue, task, who, better[int(task.completions[0].id[1:])])
    return quality_report(store, "films")


def test_two_on_four_items(store: Store) -> None:
    """Ann says a, a, b, b; Bob a, a, b, a: 3 of 4 agree. By chance 1/2 * 3/4 + 1/2 * 1/4 = 1/2: kappa is 1/2.

    Krippendorff: 8 values, 5 a and 3 b; observed disagreement 2/8, expected 2 * 5 * 3 / (8 * 7) = 15/28;
    alpha = 1 - (1/4) / (15/28) = 8/15.
    """
    found = asked(store)
    assert (found.votes, found.gold, found.overall.items) == (8, 0, 4)
    assert found.overall.percent.value == 0.75
    assert found.overall.alpha.value == pytest.approx(8 / 15)
    ((one, other, pair),) = found.pairs
    assert (one, other, pair.kappa.items) == ("ann", "bob", 4)
    assert pair.kappa.estimate.value == pytest.approx(0.5)
    assert {name: panel.percent.value for name, panel in found.categories.items()} == {"new": 1.0, "old": 0.5}
    assert [person.about["name"] for person in found.people] == ["ann", "bob"]
    assert all(0.5 < (person.likely or 0) <= 1 for person in found.people)


def test_gold_is_no_part_of_agreement(store: Store) -> None:
    before = asked(store)
    from gnomon.feedback.quality.monitor import load_votes
    from gnomon.feedback.tasks.gold_items import mark_gold

    disputed = next(v.item for v in load_votes(store, "films").votes if v.annotator == "ann" and v.label == "b")
    mark_gold(store, "films", int(str(disputed)), {"choice": "second"})
    found = quality_report(store, "films")
    assert (found.votes, found.gold) == (before.votes - 2, 2)
    assert found.overall.items == 3


def test_an_empty_project_has_no_figures_and_no_trouble(store: Store) -> None:
    project(store, 2)
    found = quality_report(store, "films")
    assert (found.votes, found.overall.alpha.value, found.pairs, found.minority) == (0, None, [], [])
    assert to_json(found.to_json())["overall"]["percent"]["value"] is None


def test_rankings_are_compared_by_their_pairs_too(store: Store) -> None:
    """abc and acb: the same best, and of three pairs two in the same order."""
    queue = project(store, 1, votes_per_item=2, max_votes=2, task="ranking", sides="abc")
    for who, order in (("ann", "abc"), ("bob", "acb")):
        task = take(queue, who)
        place = {c.id[0]: n for n, c in enumerate(task.completions)}
        queue.submit(NewJudgement(who, task.item, who, {"order": [place[side] for side in order]}))
    found = quality_report(store, "films")
    assert found.overall.percent.value == 1.0
    assert found.aspects["order"].percent.value == pytest.approx(2 / 3)
    assert found.aspects["order"].items == 3


def test_scores_are_compared_by_criterion(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=2, task="likert", criteria=["kind"])
    for who, scores in (("ann", {"a": 5, "b": 1}), ("bob", {"a": 4, "b": 1})):
        task = take(queue, who)
        answer = {"scores": [{"kind": scores[c.id[0]]} for c in task.completions]}
        queue.submit(NewJudgement(who, task.item, who, answer))
    found = quality_report(store, "films")
    assert found.overall.percent.value == 1.0, "a is best for both"
    assert found.aspects["kind"].percent.value == 0.5


def test_scores_far_from_most_are_a_view_and_scores_beside_them_are_none(store: Store) -> None:
    """Five score four texts from 1 to 10: three say 8 to 10, two say 1 to 3, none of them twice the same."""
    names = ("ann", "bob", "cyd", "dan", "eve")
    queue = project(
        store, 4, task="rating", sides="a", votes_per_item=5, max_votes=5, names=names, criteria=["overall"]
    )
    scores = {
        "ann": (8, 9, 10, 8),
        "bob": (9, 10, 8, 9),
        "cyd": (10, 8, 9, 10),
        "dan": (1, 2, 3, 1),
        "eve": (2, 3, 1, 2),
    }
    for who in names:
        for score in scores[who]:
            task = take(queue, who)
            queue.submit(NewJudgement(f"{who}-{task.item}", task.item, who, {"scores": [{"overall": score}]}))
    views = quality_report(store, "films").minority
    assert [(view.majority, view.label, view.annotators) for view in views] == [
        ("high", "low", ("dan", "eve"))
    ] * 4


def test_the_middle_of_a_scale_is_its_middle(store: Store) -> None:
    """Of -4 … 4 three scores each are low, in the middle and high."""
    from gnomon.feedback.quality.monitor import load_votes
    from gnomon.feedback.quality.summary import _sides

    names = tuple(f"rater {n}" for n in range(9))
    queue = project(
        store,
        1,
        task="rating",
        sides="a",
        votes_per_item=9,
        max_votes=9,
        names=names,
        criteria=["o"],
        scale=[-4, 4],
    )
    for score, who in zip(range(-4, 5), names, strict=True):
        task = take(queue, who)
        queue.submit(NewJudgement(who, task.item, who, {"scores": [{"o": score}]}))
    heard = load_votes(store, "films")
    assert [vote.label for vote in _sides(heard.votes, heard)] == ["low"] * 3 + ["middle"] * 3 + ["high"] * 3
