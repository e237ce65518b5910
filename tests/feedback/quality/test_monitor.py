"""The quality monitor: judgements loaded as votes, and annotators paused for low reliability."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotating import NAMES, judge_all, project, submit_choice, take
from sqlalchemy import select, text

from gnomon.core.errors import ConfigError
from gnomon.feedback.quality.monitor import CHECK_INTERVAL, REST_FACTOR, QualityMonitor, load_votes
from gnomon.feedback.store import queries
from gnomon.feedback.store.schema import AnnotatorRow, AssignmentRow, ItemRow, JudgementRow, ProjectRow
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.queue import NewJudgement, Queue


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "feedback.db")
    yield store
    store.close()


def annotator_row(store: Store, who: str) -> AnnotatorRow:
    with store.reading() as session:
        row = session.get(AnnotatorRow, who)
        assert row is not None
        return row


def test_votes_are_in_the_items_own_order(small: Store) -> None:
    queue = project(small, 4, gold=0, votes_per_item=1, min_reason_chars=3)
    for better in ("a", "b", "tie", "bad"):
        task = take(queue, "ann")
        submit_choice(queue, task, "ann", better, reason="so", seconds={"active": 2.5, "idle": 9.0})
    votes = load_votes(small, "films").votes
    assert [vote.label for vote in votes] == ["a", "b", "tie", "bad"]
    assert [vote.seconds for vote in votes] == [2.5] * 4
    assert [vote.reason for vote in votes] == ["so"] * 4
    assert [vote.chosen_length for vote in votes] == [6, 6, None, None]
    assert [vote.chosen_first is None for vote in votes] == [False, False, True, True]
    with small.reading() as session:
        rows = session.scalars(select(JudgementRow).order_by(JudgementRow.sequence)).all()
    assert [vote.chosen_first for vote in votes[:2]] == [rows[0].shown[0][0] == "a", rows[1].shown[0][0] == "b"]


def test_only_effective_judgements_are_loaded(small: Store) -> None:
    queue = project(small, 1, votes_per_item=3)
    for who in ("ann", "bob"):
        submit_choice(queue, take(queue, who), who, "a")
    item = take(queue, "cyd").item
    queue.submit(NewJudgement("again", item, "ann", {"choice": "tie"}, corrects=f"ann-{item}"))
    small.set_annotator("bob", "withdrawn")
    assert [(vote.annotator, vote.label) for vote in load_votes(small, "films").votes] == [("ann", "tie")]


def test_gold_items_measure_accuracy(small: Store) -> None:
    queue = project(small, 20, gold=12, gold_rate=0.5, names=("ann", "bob"))
    with small.writing() as session:
        row = session.get(ProjectRow, "films")
        assert row is not None
        row.salt = "pinch"  # the draws are the same in every run
    judged = {who: judge_all(queue, who, lambda n, side=side: side) for who, side in (("ann", "a"), ("bob", "b"))}
    with small.reading() as session:
        gold = set(session.scalars(select(ItemRow.key).where(ItemRow.gold.is_not(None))))
    tested = {who: sum(item in gold for item in items) for who, items in judged.items()}
    assert min(tested.values()) > 0
    accuracy = {
        record.annotator: record.metrics.gold for record in load_votes(small, "films").annotator_reliability()
    }
    assert (accuracy["ann"].hits, accuracy["ann"].of) == (tested["ann"], tested["ann"])
    assert (accuracy["bob"].hits, accuracy["bob"].of) == (0, tested["bob"])


def fill(store: Store, **settings: Any) -> Queue:
    """Four annotators who agree on all 24 items, and one who contradicts them."""
    queue = project(store, 24, votes_per_item=5, max_votes=5, min_votes_before_pause=20, gold_rate=0, **settings)
    for who in NAMES:
        judge_all(queue, who, lambda n, who=who: "ab"[n % 2] if who != "eve" else "ba"[n % 2])
    return queue


def test_an_annotator_below_min_reliability_is_paused_with_their_score(store: Store) -> None:
    queue = fill(store, min_reliability=0.5)
    monitor = QualityMonitor(store, "films")
    assert monitor.check() == ["eve"]
    eve = annotator_row(store, "eve")
    assert (eve.state, eve.below is not None and eve.below < 0.5) == ("paused", True)
    assert queue.take("eve") is None
    assert annotator_row(store, "ann").state == "active"
    assert monitor.check() == [], "a paused annotator is not paused again"


@pytest.mark.parametrize(
    "settings",
    [{}, {"min_reliability": 0.5, "min_votes_before_pause": 25}],
    ids=["no min_reliability", "too few votes"],
)
def test_nobody_is_paused_without_min_reliability_or_with_too_few_votes(
    small: Store, settings: dict[str, object]
) -> None:
    fill(small)
    earlier = small.project("films").settings
    small.update_project(Project("films", "T", "pair", 5, 5, "", earlier | settings))
    assert QualityMonitor(small, "films").check() == []
    assert annotator_row(small, "eve").state == "active"


def test_an_annotator_activated_by_a_person_is_checked_after_new_judgements(store: Store) -> None:
    fill(store, min_reliability=0.5)
    monitor = QualityMonitor(store, "films")
    assert monitor.check() == ["eve"]
    store.set_annotator("eve", "active")
    assert (annotator_row(store, "eve").below, annotator_row(store, "eve").state) == (None, "active")
    assert monitor.check() == []
    with store.writing() as session:  # as if all their judgements came later
        row = session.get(AnnotatorRow, "eve")
        assert row is not None
        row.resumed = 1.0
    assert monitor.check() == ["eve"]


def test_checks_are_due_every_fifth_judgement_with_a_rest_in_between(small: Store) -> None:
    project(small, 1)
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0  # a check takes one second
        return now[0]

    monitor = QualityMonitor(small, "films", clock=clock)
    assert [monitor.record_judgement("ann") for _ in range(2 * CHECK_INTERVAL)] == [
        *[False] * (CHECK_INTERVAL - 1),
        True,
    ] * 2
    assert monitor.check() == []
    assert not any(monitor.record_judgement("ann") for _ in range(2 * CHECK_INTERVAL)), (
        "the rest is a hundred times as long as the check"
    )
    now[0] += REST_FACTOR
    assert [monitor.record_judgement("bob") for _ in range(CHECK_INTERVAL)][-1]


def test_invalid_settings_are_refused(small: Store) -> None:
    project(small, 1)
    with pytest.raises(ConfigError, match="swap min_seconds and max_seconds"):
        small.update_project(Project("films", "T", "pair", 1, 1, "", {"min_seconds": 9.0, "max_seconds": 2.0}))
    with pytest.raises(ConfigError, match="setting 'flor' is invalid"):
        small.update_project(Project("films", "T", "pair", 1, 1, "", {"flor": 9.0}))
    assert small.project("films").settings.get("min_seconds") is None


def test_a_check_causes_no_deadlock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ann's lease holds the item's lock, Bob's submission waits for it, and a check of both waits for Bob's row.

    If the check also blocked a foreign key to Ann's row, each would wait for the next.
    """
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    queue = project(store, 1, min_reliability=0.9, names=("ann", "bob"))
    item = take(queue, "bob").item
    monkeypatch.setattr("gnomon.feedback.quality.monitor.annotators_to_pause", lambda *_: {"ann", "bob"})
    others = (
        threading.Thread(target=submit_choice, args=(queue, take(queue, "bob"), "bob", "a")),
        threading.Thread(target=QualityMonitor(store, "films").check),
    )

    def waiting() -> int:
        condition = "datname = current_database() AND wait_event_type = 'Lock'"
        statement = text(f"SELECT count(*) FROM pg_stat_activity WHERE {condition}")
        with store.reading() as session:
            return int(session.execute(statement).scalar_one())

    with store.writing() as session:
        assert session.scalars(queries.LOCK_ITEM, {"item": item, "project": "films"}).one()
        for number, other in enumerate(others, start=1):
            other.start()
            deadline = time.monotonic() + 20
            while waiting() < number:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        session.execute(text("SET LOCAL lock_timeout = '3s'"))
        session.add(AssignmentRow(item=item, annotator="ann", shown=[0, 1], until=0.0, created=0.0))
        session.flush()
    for other in others:
        other.join(20)
        assert not other.is_alive()
    assert annotator_row(store, "ann").state == annotator_row(store, "bob").state == "active"
    assert queue.progress()["judgements"] == 1
