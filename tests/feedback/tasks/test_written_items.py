"""Items whose answer is written: texts, reviews, rejected texts, corrections, leases, decisions."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotating import state_of
from sqlalchemy import select
from writing import leased, review, submit, write, writing_project

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Completion
from gnomon.feedback.store.schema import JudgementRow
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.adjudication import decide, disputed_items, review_item
from gnomon.feedback.tasks.gold_items import mark_gold
from gnomon.feedback.tasks.qualification import NewQuestion, Qualification
from gnomon.feedback.tasks.queue import Queue


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_prompt_gets_as_many_independent_texts_as_it_needs(store: Store) -> None:
    queue = writing_project(store, 2, answers=2)
    item = leased(queue, "ann").item
    assert leased(queue, "ann").completions == ()
    write(queue, "ann", "It turns.")
    write(queue, "bob", "It turns.")
    assert state_of(store, item) == ("done", 2), "equal texts are no dispute, and different ones neither"
    other = leased(queue, "cyd")
    assert other.item != item
    write(queue, "cyd", "It burns coal.")
    assert state_of(store, other.item) == ("open", 2)
    assert queue.progress()["judgements"] == 3


def test_without_approval_nobody_gets_a_text_to_review(store: Store) -> None:
    queue = writing_project(store, 1)
    task = leased(queue, "ann")
    with pytest.raises(DataError, match="only the text of another annotator can be rejected"):
        submit(queue, task, "ann", {"rejected": True})
    write(queue, "ann", "It turns.")
    assert queue.take("bob") is None


def test_a_second_annotator_approves_or_revises_each_text(store: Store) -> None:
    queue = writing_project(store, answers=2, approval=True)
    write(queue, "ann", "It turns.")
    assert queue.take("ann") is None, "nobody reviews their own text"
    task = leased(queue, "bob")
    assert (task.reviews, task.written) == (f"ann-{task.item}", "It turns.")
    assert leased(queue, "cyd").reviews is None, "bob has the review, so cyd writes the second text"
    review(queue, "bob", "It turns around.")
    write(queue, "cyd", "It burns coal.")
    assert state_of(store, task.item) == ("open", 4)
    review(queue, "dan")
    assert state_of(store, task.item) == ("done", 4)
    answers = {one.annotator: one.answer for one in review_item(store, "help", task.item).judgements}
    assert answers == {
        "ann": {"text": "It turns."},
        "bob": {"text": "It turns around.", "reviews": f"ann-{task.item}", "verdict": "revised"},
        "cyd": {"text": "It burns coal."},
        "dan": {"text": "It burns coal.", "reviews": f"cyd-{task.item}", "verdict": "approved"},
    }


def test_a_rejected_text_is_written_again_until_a_reviewer_decides(store: Store) -> None:
    queue = writing_project(
        store, answers=1, max_votes=2, approval=True, names=("ann", "bob", "cyd", "dan", "root")
    )
    write(queue, "ann", "Dunno.")
    review(queue, "bob", reject=True)
    item = leased(queue, "cyd").item
    assert state_of(store, item) == ("open", 3)
    write(queue, "cyd", "No idea.")
    review(queue, "dan", reject=True)
    assert state_of(store, item) == ("disputed", 4)
    (summary,) = disputed_items(store, "help")
    assert summary.labels == ("written", "rejected", "written", "rejected")
    decide(store, "help", item, "root", {"text": "It turns.\n"}, id="d1")
    assert state_of(store, item)[0] == "done"
    details = review_item(store, "help", item)
    assert details.decision is not None
    assert details.decision["answer"] == {"text": "It turns."}
    with pytest.raises(DataError, match="there is no text"):
        decide(store, "help", item, "root", {"text": ""}, id="d2", corrects="d1")


def test_a_reviewer_may_replace_or_reject_a_text_without_a_dispute(store: Store) -> None:
    queue = writing_project(store)
    item = leased(queue, "ann").item
    write(queue, "ann", "As an AI language model, I cannot help with this.")
    decide(store, "help", item, "bob", {"rejected": True}, id="d1")
    decide(store, "help", item, "bob", {"text": "It turns."}, id="d2", corrects="d1")
    details = review_item(store, "help", item)
    assert details.decision is not None
    assert details.decision["answer"] == {"text": "It turns."}


def test_a_text_under_review_stays_as_it_is(store: Store, clock: Clock) -> None:
    queue = writing_project(store, approval=True, clock=clock)
    item = leased(queue, "ann").item
    write(queue, "ann", "It turns.")
    task = leased(queue, "bob")
    last = queue.last_judgement("ann")
    assert last is not None
    with pytest.raises(DataError, match="is under review and stays as it is"):
        submit(queue, last[0], "ann", {"text": "It turns fast."}, corrects=f"ann-{item}", id="ann-2")
    clock.now += 61
    submit(queue, last[0], "ann", {"text": "It turns fast."}, corrects=f"ann-{item}", id="ann-2")
    with pytest.raises(DataError, match="its author changed or withdrew the text meanwhile"):
        submit(queue, task, "bob", {"text": "It turns.", "reviews": task.reviews})
    again = leased(queue, "bob")
    assert (again.item, again.reviews, again.written) == (item, "ann-2", "It turns fast.")
    with pytest.raises(DataError, match="its author changed or withdrew the text meanwhile"):
        submit(queue, again, "bob", {"text": "It turns.", "reviews": task.reviews})
    review(queue, "bob")
    assert state_of(store, item) == ("done", 2)
    with pytest.raises(DataError, match="is under review"):
        submit(queue, last[0], "ann", {"text": "It turns."}, corrects="ann-2", id="ann-3")


def test_a_reviewer_corrects_their_verdict(store: Store) -> None:
    queue = writing_project(store, approval=True)
    item = leased(queue, "ann").item
    write(queue, "ann", "It turns.")
    review(queue, "bob", reject=True)
    assert state_of(store, item) == ("open", 3), "another text is needed"
    last = queue.last_judgement("bob")
    assert last is not None
    submit(
        queue, last[0], "bob", {"text": "It turns.", "reviews": f"ann-{item}"}, corrects=f"bob-{item}", id="b2"
    )
    assert state_of(store, item) == ("done", 2)
    assert queue.take("cyd") is None


def test_a_withdrawn_author_takes_the_review_along(store: Store) -> None:
    queue = writing_project(store, approval=True)
    item = leased(queue, "ann").item
    write(queue, "ann", "It turns.")
    review(queue, "bob")
    assert state_of(store, item)[0] == "done"
    store.set_annotator("ann", "withdrawn")
    assert state_of(store, item)[0] == "open"
    assert leased(queue, "cyd").reviews is None
    assert queue.take("bob") is None
    write(queue, "cyd", "It burns coal.")
    review(queue, "dan")
    assert state_of(store, item)[0] == "done"


def test_a_withdrawn_reviewer_leaves_the_text_to_another(store: Store) -> None:
    queue = writing_project(store, approval=True)
    item = leased(queue, "ann").item
    write(queue, "ann", "It turns.")
    review(queue, "bob", reject=True)
    store.set_annotator("bob", "withdrawn")
    assert leased(queue, "cyd").reviews == f"ann-{item}"


def test_a_late_text_is_surplus_until_a_text_is_needed(store: Store, clock: Clock) -> None:
    queue = writing_project(store, approval=True, clock=clock)
    late = leased(queue, "ann")
    clock.now += 61
    write(queue, "bob", "It turns.")
    assert submit(queue, late, "ann", {"text": "It burns coal."}).surplus
    assert state_of(store, late.item) == ("open", 2)
    assert leased(queue, "cyd").reviews == f"bob-{late.item}", "the surplus text is no one's to review"
    review(queue, "cyd", reject=True)
    assert leased(queue, "dan").reviews == f"ann-{late.item}", "the surplus text counts in place of another"
    review(queue, "dan")
    assert state_of(store, late.item) == ("done", 4)


def test_a_late_review_counts_if_nobody_else_reviews(store: Store, clock: Clock) -> None:
    queue = writing_project(store, approval=True, clock=clock)
    write(queue, "ann", "It turns.")
    first = leased(queue, "bob")
    clock.now += 61
    second = leased(queue, "cyd")
    assert second.reviews == first.reviews
    assert submit(queue, first, "bob", {"text": "It turns.", "reviews": first.reviews}).surplus
    assert not submit(queue, second, "cyd", {"text": "It turns.", "reviews": second.reviews}).surplus
    clock.now += 61
    assert queue.heartbeat("bob", first.item) is None


def test_a_skipped_review_goes_to_somebody_else(store: Store) -> None:
    queue = writing_project(store, approval=True)
    write(queue, "ann", "It turns.")
    task = leased(queue, "bob")
    queue.skip("bob", task.item, "no idea of machines")
    assert leased(queue, "cyd").reviews == task.reviews


def test_a_draft_is_kept_and_the_lease_renewed(store: Store, clock: Clock) -> None:
    queue = writing_project(store, clock=clock)
    item = leased(queue, "ann").item
    draft = {"answer": {"text": "It tu"}, "seconds": {"active": 9.0, "idle": 0.0}}
    assert queue.heartbeat("ann", item, draft) == clock.now + 60
    clock.now += 61
    assert leased(queue, "ann").draft == draft
    clock.now += 61
    assert leased(queue, "bob").item == item
    assert queue.heartbeat("ann", item, draft) is None
    assert queue.take("ann") is None


def test_sending_twice_adds_nothing(store: Store) -> None:
    queue = writing_project(store, approval=True)
    task = leased(queue, "ann")
    assert [submit(queue, task, "ann", {"text": "It turns."}).duplicate for _ in range(2)] == [False, True]
    other = leased(queue, "bob")
    answer = {"text": "It turns.", "reviews": other.reviews}
    assert [submit(queue, other, "bob", answer).duplicate for _ in range(2)] == [False, True]
    with pytest.raises(DataError, match="belongs to another judgement"):
        submit(queue, other, "bob", {**answer, "text": "No."})


def test_a_review_of_another_items_text_is_refused(store: Store) -> None:
    queue = writing_project(store, 2, approval=True)
    write(queue, "ann", "It turns.")
    task = leased(queue, "bob")
    write(queue, "ann", "It burns coal.")
    with pytest.raises(DataError, match="has no written text"):
        submit(queue, task, "bob", {"text": "It turns.", "reviews": f"ann-{3 - task.item}"})
    with pytest.raises(DataError, match="changed or withdrew"):
        submit(queue, task, "bob", {"text": "It turns."})


def test_approval_can_be_required_and_dropped_later(store: Store) -> None:
    queue = writing_project(store, approval=False)
    item = leased(queue, "ann").item
    write(queue, "ann", "It turns.")
    before = store.project("help")
    store.update_project(Project("help", before.title, before.task, 1, 3, "", {"approval": True}))
    assert state_of(store, item) == ("open", 2)
    store.update_project(before)
    assert state_of(store, item) == ("done", 1)


def test_no_answer_is_known_to_be_right(store: Store) -> None:
    queue = writing_project(store)
    item = leased(queue, "ann").item
    with pytest.raises(ConfigError, match="collects written answers, of which none is the only right one"):
        mark_gold(store, "help", item, {"text": "It turns."})
    question = NewQuestion(store.prompts("help")[0], (Completion("c", "x"),), {"text": "x"}, "")
    with pytest.raises(ConfigError, match="of which none is the only right one"):
        Qualification(store, "help").add([question])


@pytest.mark.slow
def test_processes_that_race_write_and_review_each_text_once(store: Store) -> None:
    """Seven processes, 12 prompts of two texts, each with a review: 48 judgements, no text reviewed twice."""
    names = tuple(f"w{n}" for n in range(7))
    writing_project(store, 12, answers=2, max_votes=2, approval=True, names=names)
    worker = Path(__file__).with_name("queue_worker.py")
    url = store.url
    runs = [
        subprocess.Popen([sys.executable, str(worker), url, "help", name, str(n)]) for n, name in enumerate(names)
    ]
    assert [run.wait(timeout=120) for run in runs] == [0] * len(runs)
    with store.reading() as session:
        rows = session.scalars(select(JudgementRow).where(~JudgementRow.surplus)).all()
    texts = Counter(row.item for row in rows if "reviews" not in row.answer)
    reviews = Counter(row.answer["reviews"] for row in rows if "reviews" in row.answer)
    assert set(texts.values()) == {2}
    assert len(texts) == 12
    assert sorted(reviews) == sorted(row.id for row in rows if "reviews" not in row.answer)
    assert set(reviews.values()) == {1}
    assert all(len({row.annotator for row in rows if row.item == item}) == 4 for item in texts)
    assert Queue(store, "help").progress()["done"] == 12
