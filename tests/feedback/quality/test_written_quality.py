"""Quality of written answers: counts, reliability, and no agreement where none is defined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from writing import leased, review, submit, write, writing_project

from gnomon.feedback.quality.monitor import QualityMonitor, load_votes
from gnomon.feedback.quality.reliability import WRITTEN_WEIGHTS
from gnomon.feedback.quality.summary import quality_report
from gnomon.feedback.quality.written_quality import count_texts, load_checked_texts
from gnomon.feedback.store.store import Store
from gnomon.web.agreement_tables import print_report

GOOD = (
    "Steam pushes the piston, and the piston turns the wheel.",
    "A magnet turns until it lies along the field of the earth.",
)
REFUSAL = "As an AI language model, I cannot help with machines."


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "f.db")


def test_counts_follow_the_reviews_and_the_flags(store: Store) -> None:
    """Three texts: one approved, one rejected, one unreviewed; the refusal is flagged."""
    queue = writing_project(store, 3, approval=True, max_votes=1)
    write(queue, "ann", GOOD[0])
    review(queue, "bob")
    write(queue, "ann", REFUSAL)
    review(queue, "bob", reject=True)
    write(queue, "ann", GOOD[1])
    counts = count_texts(load_checked_texts(store, "help"))
    assert (counts.written, counts.accepted, counts.rejected, counts.unreviewed) == (3, 1, 1, 1)
    assert (counts.flagged, counts.flags) == (1, {"refusal": 1})
    store.set_annotator("ann", "withdrawn")
    assert count_texts(load_checked_texts(store, "help")).written == 0


def test_written_answers_have_no_agreement(store: Store) -> None:
    queue = writing_project(store, 1, answers=3, approval=True, max_votes=3, names=tuple("abcdef"))
    for who, text in zip("abc", (*GOOD, GOOD[0]), strict=True):
        submit(queue, leased(queue, who), who, {"text": text})
        review(queue, {"a": "d", "b": "e", "c": "f"}[who])
    report = quality_report(store, "help")
    assert (report.overall.items, report.overall.alpha.value, report.overall.percent.value) == (0, None, None)
    assert (report.aspects, report.categories, report.pairs, report.minority) == ({}, {}, [], [])
    assert report.order.value is None
    assert report.votes == 6
    assert all(person.likely is None for person in report.people)
    assert all(person.record is None or person.record.metrics.agreement.kappa is None for person in report.people)
    console = Console(record=True, width=200)
    print_report(report, console)
    printed = console.export_text()
    first, second, *_ = printed.splitlines()
    assert first == "3 written answers: 3 accepted, 0 waiting for a review, 0 rejected, 1 flagged"
    assert second == "written answers have no agreement"
    assert "1 copied" in printed
    assert "Krippendorff" not in printed
    assert report.to_json()["written"]["accepted"] == 3


def test_reliability_comes_from_flags_and_reviews(store: Store) -> None:
    """ann: 2 texts without a flag, both accepted. bob: 2 flagged texts, both rejected. cyd only reviews.

    texts: 1 and 0 with 2 cases each, so both are shrunk by 2/12 of their distance to the mean 1/2: 7/12 and 5/12;
    the same for reviews. cyd has no part.
    """
    queue = writing_project(store, 4, approval=True, max_votes=1, names=("ann", "bob", "cyd"))
    for who, text, good in (
        ("ann", GOOD[0], True),
        ("ann", GOOD[1], True),
        ("bob", REFUSAL, False),
        ("bob", "I'm sorry, but I can't answer.", False),
    ):
        write(queue, who, text)
        review(queue, "cyd", reject=not good)
    scores = {one.annotator: one for one in load_votes(store, "help").annotator_reliability()}
    assert scores["ann"].score == pytest.approx(7 / 12)
    assert scores["bob"].score == pytest.approx(5 / 12)
    assert {part.name: part.measured for part in scores["bob"].parts} == {"texts": 0.0, "reviews": 0.0}
    assert scores["cyd"].score is None
    assert sum(WRITTEN_WEIGHTS.values()) == pytest.approx(1.0)


def test_the_monitor_pauses_who_writes_badly(store: Store) -> None:
    settings: dict[str, Any] = {"min_reliability": 0.5, "min_votes_before_pause": 2}
    queue = writing_project(store, 4, approval=True, max_votes=1, names=("ann", "bob", "cyd"), **settings)
    for who, text in (("ann", GOOD[0]), ("ann", GOOD[1]), ("bob", REFUSAL), ("bob", f"{REFUSAL} Really.")):
        write(queue, who, text)
        review(queue, "cyd", reject=who == "bob")
    assert QualityMonitor(store, "help").check() == ["bob"]


def test_a_correction_is_not_too_fast(store: Store) -> None:
    queue = writing_project(store)
    task = leased(queue, "ann")
    submit(queue, task, "ann", {"text": GOOD[0]}, seconds=1.0)
    assert [one.flags for one in load_checked_texts(store, "help")] == [("fast",)]
    submit(queue, task, "ann", {"text": GOOD[1]}, seconds=1.0, id="again", corrects=f"ann-{task.item}")
    assert [one.flags for one in load_checked_texts(store, "help")] == [()]
