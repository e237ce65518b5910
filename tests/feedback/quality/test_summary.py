"""The quality report of a project, against figures derived by hand."""

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
    store = Store(tmp_path / "feedback.db")
    yield store
    store.close()


CHOICES = {"ann": "aabb", "bob": "aaba"}  # of items 0 to 3


def report_of_two(store: Store) -> QualityReport:
    queue = project(store, 4, votes_per_item=2, max_votes=2, gold_rate=0)
    for who, better in CHOICES.items():
        for _ in range(4):
            task = take(queue, who)
            submit_choice(queue, task, who, better[int(task.completions[0].id[1:])])
    return quality_report(store, "films")


def test_report_of_two_annotators_by_hand(store: Store) -> None:
    """Ann a, a, b, b; Bob a, a, b, a: 3 of 4 agree. By chance 1/2 * 3/4 + 1/2 * 1/4 = 1/2: kappa is 1/2.

    Krippendorff: 8 values, 5 a and 3 b; observed disagreement 2/8, expected 2 * 5 * 3 / (8 * 7) = 15/28;
    alpha = 1 - (1/4) / (15/28) = 8/15.
    """
    report = report_of_two(store)
    assert (report.votes, report.gold, report.overall.items) == (8, 0, 4)
    assert report.overall.percent.value == 0.75
    assert report.overall.alpha.value == pytest.approx(8 / 15)
    ((one, other, pair),) = report.pairs
    assert (one, other, pair.kappa.items) == ("ann", "bob", 4)
    assert pair.kappa.estimate.value == pytest.approx(0.5)
    assert {name: panel.percent.value for name, panel in report.categories.items()} == {"new": 1.0, "old": 0.5}
    assert [person.about["name"] for person in report.people] == ["ann", "bob"]
    assert all(0.5 < (person.likely or 0) <= 1 for person in report.people)


def test_gold_items_are_left_out_of_agreement(store: Store) -> None:
    before = report_of_two(store)
    from gnomon.feedback.quality.monitor import load_votes
    from gnomon.feedback.tasks.gold_items import mark_gold

    disputed = next(v.item for v in load_votes(store, "films").votes if v.annotator == "ann" and v.label == "b")
    mark_gold(store, "films", int(str(disputed)), {"choice": "second"})
    report = quality_report(store, "films")
    assert (report.votes, report.gold) == (before.votes - 2, 2)
    assert report.overall.items == 3


def test_report_of_an_empty_project_is_undefined(store: Store) -> None:
    project(store, 2)
    report = quality_report(store, "films")
    assert (report.votes, report.overall.alpha.value, report.pairs, report.minority) == (0, None, [], [])
    assert to_json(report.to_json())["overall"]["percent"]["value"] is None


def test_rankings_are_also_compared_by_pairs(store: Store) -> None:
    """abc and acb: the same best, and of three pairs two in the same order."""
    queue = project(store, 1, votes_per_item=2, max_votes=2, task="ranking", sides="abc")
    for who, order in (("ann", "abc"), ("bob", "acb")):
        task = take(queue, who)
        index = {c.id[0]: n for n, c in enumerate(task.completions)}
        queue.submit(NewJudgement(who, task.item, who, {"order": [index[side] for side in order]}))
    report = quality_report(store, "films")
    assert report.overall.percent.value == 1.0
    assert report.aspects["order"].percent.value == pytest.approx(2 / 3)
    assert report.aspects["order"].items == 3


def test_scores_are_compared_by_criterion(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, max_votes=2, task="likert", criteria=["kind"])
    for who, scores in (("ann", {"a": 5, "b": 1}), ("bob", {"a": 4, "b": 1})):
        task = take(queue, who)
        answer = {"scores": [{"kind": scores[c.id[0]]} for c in task.completions]}
        queue.submit(NewJudgement(who, task.item, who, answer))
    report = quality_report(store, "films")
    assert report.overall.percent.value == 1.0, "a is best for both"
    assert report.aspects["kind"].percent.value == 0.5


def test_scores_far_from_the_majority_are_a_minority_view(store: Store) -> None:
    """Five annotators score four texts from 1 to 10: three give 8 to 10, two give 1 to 3, with varying scores."""
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


def test_coarse_votes_split_a_scale_into_equal_thirds(store: Store) -> None:
    """Of -4 … 4 three scores each are low, middle and high."""
    from gnomon.feedback.quality.monitor import load_votes
    from gnomon.feedback.quality.summary import _coarse_votes

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
    loaded = load_votes(store, "films")
    labels = [vote.label for vote in _coarse_votes(loaded.votes, loaded)]
    assert labels == ["low"] * 3 + ["middle"] * 3 + ["high"] * 3
