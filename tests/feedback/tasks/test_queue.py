"""The queue: exactly as many judgements per item as needed, no item twice for an annotator, no judgement lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from sqlalchemy import select
from tiny import prompts_of

from gnomon.core.errors import DataError
from gnomon.core.types import Completion
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import AssignmentRow, ItemRow, JudgementRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.queue import AnnotationTask, NewJudgement, Queue

NAMES = ("ann", "bob", "cyd", "dan")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def fill(
    store: Store, items: int, *, votes_per_item: int = 2, max_votes: int = 4, names: tuple[str, ...] = NAMES
) -> None:
    """Add items of two completions each, and annotators."""
    store.add_project(Project("films", "Which is better?", "pair", votes_per_item, max_votes))
    add_prompts(store, "films", [BankPrompt(p) for p in prompts_of(*(f"film {i}?" for i in range(items)))])
    texts = [(i, side, f"{side} of {i}") for i in range(items) for side in "ab"]
    add_completions(
        store,
        "films",
        [(f"p{i}", Completion(f"{side}{i}", content, f"model {side}"), {}) for i, side, content in texts],
    )
    add_items(store, "films", [[f"a{i}", f"b{i}"] for i in range(items)])
    for name in names:
        store.add_annotator(name, id=name)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(store: Store, clock: Clock) -> Queue:
    fill(store, 3)
    return Queue(store, "films", lease_seconds=60, clock=clock)


def submit_first(
    queue: Queue, task: AnnotationTask | None, who: str, name: str | None = None, **more: object
) -> NewJudgement:
    assert task is not None
    judgement = NewJudgement(name or f"{who}-{task.item}", task.item, who, {"choice": "first"}, **more)  # type: ignore[arg-type]
    queue.submit(judgement)
    return judgement


def item_of(task: AnnotationTask | None) -> int:
    assert task is not None
    return task.item


def test_an_item_goes_to_as_many_annotators_as_it_needs_and_to_nobody_twice(queue: Queue) -> None:
    leases = [(who, item_of(queue.take(who))) for who in ("ann", "bob", "cyd", "dan")]
    items = Counter(item for _, item in leases)
    assert sorted(items.values()) == [2, 2], "items with most filled slots come first"
    assert item_of(queue.take("ann")) == leases[0][1], "the leased item"
    for who, item in leases:
        queue.submit(NewJudgement(f"{who}-{item}", item, who, {"choice": "second"}))
    third = {item_of(queue.take(who)) for who in ("ann", "bob")}
    assert len(third) == 1
    assert not third & set(items)
    assert queue.take("cyd") is not None or queue.progress()["done"] == 2


def test_tasks_have_no_sources_and_a_stable_order(queue: Queue) -> None:
    task = queue.take("ann")
    assert task is not None
    assert {c.source for c in task.completions} == {""}
    assert {c.text[0] for c in task.completions} == {"a", "b"}
    again = queue.take("ann")
    assert again is not None
    assert [c.id for c in again.completions] == [c.id for c in task.completions], "the same order each time"


def test_displayed_orders_differ_between_annotators(store: Store) -> None:
    fill(store, 40, votes_per_item=2, names=("ann", "bob"))
    queue, first = Queue(store, "films"), Counter[str]()
    for who in ("ann", "bob"):
        while (task := queue.take(who)) is not None:
            first[task.completions[0].id[0]] += 1
            submit_first(queue, task, who)
    assert sum(first.values()) == 80
    assert 20 < first["a"] < 60


def test_an_expired_lease_frees_its_slot(queue: Queue, clock: Clock, store: Store) -> None:
    item = item_of(queue.take("ann"))
    assert item_of(queue.take("bob")) == item
    assert item_of(queue.take("cyd")) != item
    clock.now += 61
    assert item_of(queue.take("dan")) == item, "the slots of ann and bob are free"
    with store.reading() as session:
        assignments = session.scalars(select(AssignmentRow).where(AssignmentRow.item == item)).all()
    assert {row.annotator for row in assignments} == {"ann", "bob", "dan"}


def test_a_heartbeat_extends_the_lease_and_saves_the_draft(queue: Queue, clock: Clock) -> None:
    item = item_of(queue.take("ann"))
    clock.now += 50
    assert queue.heartbeat("ann", item, {"reason": "because"}) == clock.now + 60
    clock.now += 50
    task = queue.take("ann")
    assert task is not None
    assert (task.item, task.draft) == (item, {"reason": "because"})
    assert queue.heartbeat("bob", item) is None, "bob never leased it"


def test_a_late_judgement_counts_if_a_slot_is_free_and_is_surplus_otherwise(queue: Queue, clock: Clock) -> None:
    item = item_of(queue.take("ann"))
    clock.now += 61
    assert not queue.submit(NewJudgement("late-1", item, "ann", {"choice": "tie"})).surplus
    assert item_of(queue.take("bob")) == item
    clock.now += 61
    assert item_of(queue.take("cyd")) == item
    queue.submit(NewJudgement("in-time", item, "cyd", {"choice": "tie"}))
    assert queue.submit(NewJudgement("late-2", item, "bob", {"choice": "second"})).surplus
    assert queue.progress() == {"open": 2, "done": 1, "disputed": 0, "closed": 0, "judgements": 2, "surplus": 1}
    assert queue.heartbeat("bob", item) is None


def test_a_late_judgement_is_surplus_if_the_slot_is_leased_again(queue: Queue, clock: Clock) -> None:
    item = item_of(queue.take("ann"))
    queue.submit(NewJudgement("first", item, "ann", {"choice": "first"}))
    assert item_of(queue.take("bob")) == item
    clock.now += 61
    assert item_of(queue.take("cyd")) == item
    assert queue.submit(NewJudgement("late", item, "bob", {"choice": "first"})).surplus, (
        "cyd leases the last slot"
    )
    assert not queue.submit(NewJudgement("in time", item, "cyd", {"choice": "first"})).surplus


def test_a_repeated_submission_adds_nothing(queue: Queue) -> None:
    judgement = submit_first(queue, queue.take("ann"), "ann")
    receipt = queue.submit(judgement)
    assert (receipt.duplicate, receipt.surplus) == (True, False)
    assert queue.progress()["judgements"] == 1
    with pytest.raises(DataError, match="belongs to another judgement"):
        queue.submit(NewJudgement(judgement.id, judgement.item, "ann", {"choice": "second"}))


def test_a_correction_is_a_new_row_and_counts_once(queue: Queue, store: Store) -> None:
    first = submit_first(queue, queue.take("ann"), "ann")
    with pytest.raises(DataError, match="correct it instead"):
        queue.submit(NewJudgement("second", first.item, "ann", {"choice": "second"}))
    queue.submit(NewJudgement("second", first.item, "ann", {"choice": "second"}, corrects=first.id))
    assert queue.progress()["judgements"] == 1
    with store.reading() as session:
        rows = session.scalars(select(JudgementRow).order_by(JudgementRow.sequence)).all()
        assert [(r.id, r.answer, r.supersedes) for r in rows] == [
            (first.id, {"choice": "first"}, None),
            ("second", {"choice": "second"}, first.id),
        ]
    with pytest.raises(DataError, match="was corrected already"):
        queue.submit(NewJudgement("third", first.item, "ann", {"choice": "first"}, corrects=first.id))
    other = submit_first(queue, queue.take("bob"), "bob")
    with pytest.raises(DataError, match="is not by 'ann' on item"):
        queue.submit(NewJudgement("fourth", other.item, "ann", {"choice": "first"}, corrects=other.id))


def test_a_skipped_item_is_not_assigned_to_the_annotator_again(queue: Queue) -> None:
    seen = set()
    while (task := queue.take("ann")) is not None:
        assert task.item not in seen
        seen.add(task.item)
        queue.skip("ann", task.item, "cannot tell")
    assert len(seen) == 3
    assert queue.progress()["judgements"] == 0
    assert queue.take("bob") is not None


def test_items_that_were_never_leased_cannot_be_judged(queue: Queue) -> None:
    item = item_of(queue.take("ann"))
    with pytest.raises(DataError, match="was never leased to annotator 'bob'"):
        queue.submit(NewJudgement("x", item, "bob", {"choice": "first"}))
    with pytest.raises(DataError, match="has no item 99"):
        queue.submit(NewJudgement("x", 99, "bob", {"choice": "first"}))
    with pytest.raises(DataError, match="no annotator 'eve'"):
        queue.take("eve")


def test_paused_annotators_get_no_items_and_withdrawn_ones_do_not_count(queue: Queue, store: Store) -> None:
    judgement = submit_first(queue, queue.take("ann"), "ann")
    store.set_annotator("bob", "paused")
    assert queue.take("bob") is None
    store.set_annotator("bob", "active")
    assert item_of(queue.take("bob")) == judgement.item
    store.set_annotator("ann", "withdrawn")
    assert queue.take("ann") is None
    assert item_of(queue.take("cyd")) == judgement.item, "a slot is free again"


def test_withdrawn_annotators_cannot_submit(queue: Queue, store: Store) -> None:
    earlier = submit_first(queue, queue.take("ann"), "ann")
    item = item_of(queue.take("ann"))
    store.set_annotator("ann", "withdrawn")
    for judgement in (
        NewJudgement("x", item, "ann", {"choice": "tie"}),
        NewJudgement("y", earlier.item, "ann", earlier.answer, corrects=earlier.id),
    ):
        with pytest.raises(DataError, match="'ann' has withdrawn"):
            queue.submit(judgement)
    assert queue.submit(earlier).duplicate, "a stored judgement is acknowledged"
    store.set_annotator("ann", "active")
    assert not queue.submit(NewJudgement("x", item, "ann", {"choice": "tie"})).surplus


def test_a_withdrawal_reopens_a_done_item(queue: Queue, store: Store) -> None:
    item = item_of(queue.take("ann"))
    for who in ("ann", "bob"):
        queue.take(who)
        queue.submit(NewJudgement(who, item, who, {"choice": "tie"}))
    assert queue.progress()["done"] == 1
    store.set_annotator("ann", "withdrawn")
    assert queue.progress()["done"] == 0
    assert item_of(queue.take("cyd")) == item


def test_an_expired_lease_of_a_done_item_is_not_renewed(queue: Queue, clock: Clock) -> None:
    item = item_of(queue.take("ann"))
    clock.now += 61
    for who in ("bob", "cyd"):
        assert item_of(queue.take(who)) == item
        queue.submit(NewJudgement(who, item, who, {"choice": "first"}))
    assert item_of(queue.take("ann")) != item


def test_items_with_a_higher_priority_come_first(store: Store) -> None:
    fill(store, 2)
    add_completions(store, "films", [("p0", Completion("c0", "c of 0"), {})])
    add_items(store, "films", [["a0", "c0"]], priorities=[1.0])
    queue = Queue(store, "films")
    with store.reading() as session:
        urgent = session.scalars(select(ItemRow.key).where(ItemRow.priority == 1.0)).one()
    assert item_of(queue.take("ann")) == urgent


def test_items_locked_by_another_transaction_are_skipped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An annotator gets another item, or retries if the last one is locked."""
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    fill(store, 2, votes_per_item=1)
    queue, leased = Queue(store, "films"), list[int]()
    waiting = threading.Thread(target=lambda: leased.append(item_of(queue.take("bob"))))
    with store.writing() as session:
        first = session.scalars(select(ItemRow.key).order_by(ItemRow.key).limit(1).with_for_update()).one()
        assert item_of(queue.take("ann")) != first
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(20)
    assert leased == [first]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_concurrent_annotators_fill_every_slot_once(database: str, tmp_path: Path) -> None:
    """Eight processes on 60 items of 3: 180 judgements, no surplus, nobody judges an item twice."""
    names = tuple(f"w{n}" for n in range(8))
    store = Store(database)
    fill(store, 60, votes_per_item=3, max_votes=3, names=names)
    script = Path(__file__).parent / "queue_worker.py"
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), database, "films", name, name], stderr=subprocess.PIPE, text=True
        )
        for name in names
    ]
    for worker in workers:
        _, err = worker.communicate(timeout=240)
        assert worker.returncode == 0, err
    progress = Queue(store, "films").progress()
    assert (progress["done"], progress["judgements"], progress["surplus"]) == (60, 180, 0)
    with store.reading() as session:
        rows = session.scalars(select(JudgementRow)).all()
    assert max(Counter((r.item, r.annotator) for r in rows).values()) == 1
    assert set(Counter(r.item for r in rows).values()) == {3}
    by_item = {i: {r.annotator for r in rows if r.item == i} for i in {r.item for r in rows}}
    assert len({frozenset(pair) for who in by_item.values() for pair in combinations(sorted(who), 2)}) > 8
    store.close()
