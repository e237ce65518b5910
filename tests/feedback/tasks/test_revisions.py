"""Late judgements, corrections and changed settings: items are open only as long as they need judgements."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from annotating import project, state_of, submit_choice, take
from sqlalchemy import select

from gnomon.core.errors import BusyError, ConfigError, DataError
from gnomon.feedback.quality.monitor import load_votes
from gnomon.feedback.quality.summary import _coarse_votes, quality_report
from gnomon.feedback.store import store as stores
from gnomon.feedback.store.schema import AnnotatorRow, ItemRow, JudgementRow
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.gold_items import mark_gold
from gnomon.feedback.tasks.queue import NewJudgement, Queue
from gnomon.stats.votes import Vote


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def late(store: Store, names: tuple[str, ...]) -> tuple[Queue, Clock, int]:
    """Ann's lease expires, Bob leases the only slot, and then Ann submits: her judgement is surplus."""
    clock = Clock()
    project(store, 1, votes_per_item=1, names=names)
    queue = Queue(store, "films", lease_seconds=60, clock=clock)
    task = take(queue, "ann")
    clock.now += 61
    assert take(queue, "bob").item == task.item
    assert queue.submit(NewJudgement("late", task.item, "ann", {"choice": "first"})).surplus
    return queue, clock, task.item


def counted_ids(store: Store) -> list[str]:
    with store.reading() as session:
        return list(session.scalars(select(JudgementRow.id).where(~JudgementRow.surplus)))


def test_a_surplus_judgement_counts_after_the_other_annotator_skips(store: Store) -> None:
    queue, _, item = late(store, ("ann", "bob"))
    queue.skip("bob", item, "")
    assert state_of(store, item) == ("done", 1)
    assert counted_ids(store) == ["late"]


def test_a_surplus_judgement_counts_before_an_expired_slot_is_leased_again(store: Store) -> None:
    queue, clock, item = late(store, ("ann", "bob", "cyd"))
    clock.now += 61
    assert queue.take("cyd") is None
    assert state_of(store, item) == ("done", 1)


def test_a_surplus_judgement_counts_though_no_annotator_is_left(store: Store) -> None:
    queue, clock, item = late(store, ("ann", "bob"))
    clock.now += 61
    assert queue.take("ann") is None
    assert state_of(store, item) == ("done", 1)


def test_a_corrected_slip_needs_no_further_judgement(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2)
    submit_choice(queue, take(queue, "ann"), "ann", "a")
    task = take(queue, "bob")
    slip = submit_choice(queue, task, "bob", "b")
    assert state_of(store, task.item) == ("open", 3)
    same = {"choice": ("first", "second")[[c.id[0] for c in task.completions].index("a")]}
    queue.submit(replace(slip, id="correction", answer=same, corrects=slip.id))
    assert state_of(store, task.item) == ("done", 2)
    assert queue.take("cyd") is None


def test_criteria_cannot_change_once_there_are_gold_items(store: Store) -> None:
    project(store, 1, task="rating", sides="a", criteria=["kind"])
    with store.reading() as session:
        item = session.scalars(select(ItemRow.key)).one()
    mark_gold(store, "films", item, {"scores": [{"kind": 7}]})
    current = store.project("films")
    with pytest.raises(DataError, match="judgements or gold items"):
        store.update_project(replace(current, settings={**current.settings, "criteria": ["kind", "true"]}))


def test_criteria_with_equal_names_are_refused(store: Store) -> None:
    project(store, 1, task="rating", sides="a", criteria=["kind"])
    current = store.project("films")
    with pytest.raises(ConfigError, match="give different names"):
        store.update_project(replace(current, settings={**current.settings, "criteria": ["kind", "kind "]}))


def test_waiting_too_long_for_another_writer_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As during a long import in this process or another; on PostgreSQL writers do not wait for each other."""
    if store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has many writers")
    monkeypatch.setattr(stores, "BUSY", 0.05)
    inside, over = threading.Event(), threading.Event()

    def hold() -> None:
        with store.writing():
            inside.set()
            over.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(10)
    try:
        with pytest.raises(BusyError, match="another program is writing"), store.writing():
            pass
    finally:
        over.set()
        holder.join()
    with store.writing():
        pass


def test_anonymous_annotators_have_no_metrics(store: Store) -> None:
    """`r00` of one text and `r00` of another are different persons."""
    queue = project(store, 4, votes_per_item=2, names=("ann", "bob"))
    with store.writing() as session:
        for row in session.scalars(select(AnnotatorRow)).all():
            row.kind = "anonymous"
    for _ in range(4):
        for who in ("ann", "bob"):
            submit_choice(queue, take(queue, who), who, "a")
    report = quality_report(store, "films")
    assert report.votes == 8
    assert report.overall.items == 4
    assert (report.pairs, report.minority) == ([], [])
    assert all(person.record is None and person.likely is None for person in report.people)


def test_a_score_that_rounds_up_past_the_scale_is_high(store: Store) -> None:
    """A rating of 4.5 on a scale to 4.5 has the label 5; the highest number that a person may give is 4."""
    project(store, 1, task="rating", sides="a", criteria=["o"], scale=[0, 4.5])
    loaded = load_votes(store, "films")
    votes = [Vote(annotator="ann", item=1, label=5), Vote(annotator="bob", item=1, label=0)]
    assert [vote.label for vote in _coarse_votes(votes, loaded)] == ["high", "low"]
