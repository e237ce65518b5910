"""Gold items: drawn at a rate, indistinguishable, with unlimited slots, and left out of progress and exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from annotating import judge_all, project, state_of, submit_choice, take
from exported import pair_preferences
from sqlalchemy import select
from tiny import prompts_of

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Completion, Ranking
from gnomon.feedback.quality.monitor import load_votes
from gnomon.feedback.store.schema import ItemRow, ProjectRow
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.gold_items import add_gold, gold_items, mark_gold, unmark_gold
from gnomon.feedback.tasks.queue import NewJudgement, Queue


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    """On SQLite alone, for tests that do not depend on the database."""
    store = Store(tmp_path / "feedback.db")
    yield store
    store.close()


def set_salt(store: Store, salt: str) -> None:
    with store.writing() as session:
        row = session.get(ProjectRow, "films")
        assert row is not None
        row.salt = salt


def gold_draws(store: Store, who: str, count: int) -> list[bool]:
    """Whether each of an annotator's next items is gold."""
    queue = project(store, 90, gold=60, votes_per_item=1, max_votes=1, gold_rate=0.25, names=(who,))
    set_salt(store, "pinch")
    with store.reading() as session:
        gold = set(session.scalars(select(ItemRow.key).where(ItemRow.gold.is_not(None))))
    draws = []
    for _ in range(count):
        task = take(queue, who)
        draws.append(task.item in gold)
        submit_choice(queue, task, who, "tie")
    return draws


def test_the_share_of_gold_items_is_the_rate_and_reproducible(small: Store, tmp_path: Path) -> None:
    draws = gold_draws(small, "ann", 100)
    assert 13 <= sum(draws) <= 37, "100 draws of 1/4: 25, and three standard deviations of 4.3"
    other = Store(tmp_path / "again.db")
    assert gold_draws(other, "ann", 100) == draws
    other.close()


def test_draws_differ_between_annotators_and_projects(small: Store) -> None:
    queue = project(small, 0, gold=40, gold_rate=0.5, names=("ann", "bob"))
    draws = {}
    for salt in ("pinch", "grain"):
        set_salt(small, salt)
        for who in ("ann", "bob"):
            with small.reading() as session:
                draws[salt, who] = tuple(
                    queue._draw_gold_items(session, session.get_one(ProjectRow, "films"), who)
                )
    assert len(set(draws.values())) > 2


def test_there_are_no_gold_items_at_rate_zero(small: Store) -> None:
    queue = project(small, 3, gold=3, votes_per_item=1, gold_rate=0)
    assert len(judge_all(queue, "ann", lambda n: "a")) == 3


def test_a_gold_item_looks_like_any_other(small: Store) -> None:
    queue = project(small, 12, gold=12, votes_per_item=1, gold_rate=0.5)
    tasks = []
    for _ in range(12):
        tasks.append(asdict(take(queue, "ann")))
        submit_choice(queue, take(queue, "ann"), "ann", "a")
    with small.reading() as session:
        gold = set(session.scalars(select(ItemRow.key).where(ItemRow.gold.is_not(None))))
    kinds = {one["item"] in gold: {k: type(v) for k, v in one.items()} for one in tasks}
    assert set(kinds) == {True, False}
    assert kinds[True] == kinds[False]
    assert queue.judged_count("ann") == 12, "otherwise the count on the page would reveal them"
    last = queue.last_judgement("ann")
    assert last is not None
    assert last[0].item == tasks[-1]["item"]


def test_any_number_of_annotators_get_a_gold_item(store: Store) -> None:
    """An item that needs one judgement and a gold item: one annotator judges the first, others the second."""
    queue = project(store, 1, gold=1, votes_per_item=1, max_votes=1, gold_rate=0.5)
    judged = [len(judge_all(queue, who, lambda n: "a")) for who in ("ann", "bob", "cyd", "dan", "eve")]
    progress = queue.progress()
    assert (progress["open"], progress["done"], progress["judgements"], progress["surplus"]) == (0, 1, 1, 0)
    (gold,) = gold_items(store, "films")
    assert gold.accuracy.of == sum(judged) - 1
    assert state_of(store, gold.item) == ("gold", 1)


def test_the_remaining_count_includes_gold_items(store: Store) -> None:
    queue = project(store, 3, gold=2, votes_per_item=1, gold_rate=0.5)
    assert queue.remaining_count("ann") == 5
    task = take(queue, "ann")
    assert queue.remaining_count("ann") == 5, "the leased item is still to be judged"
    submit_choice(queue, task, "ann", "a")
    queue.skip("ann", take(queue, "ann").item, "no idea")
    assert queue.remaining_count("ann") == 3
    assert len(judge_all(queue, "ann", lambda n: "a")) <= 3


def test_nobody_gets_a_gold_item_twice_and_a_lease_is_returned_again(store: Store) -> None:
    queue = project(store, 4, gold=2, votes_per_item=1, gold_rate=0.5)
    items = []
    while (task := queue.take("ann")) is not None:
        assert take(queue, "ann").item == task.item, "the leased item"
        assert queue.heartbeat("ann", task.item) is not None
        items.append(task.item)
        submit_choice(queue, task, "ann", "b")
    assert len(items) == len(set(items))


def test_a_late_judgement_of_a_gold_item_is_not_surplus(store: Store) -> None:
    queue = project(store, 0, gold=1, gold_rate=0.5)
    now = [1000.0]
    queue.clock = lambda: now[0]
    set_salt(store, next(s for s in map(str, range(99)) if _draws(store, queue, s)))
    task = take(queue, "ann")
    now[0] += 1e6
    assert queue.heartbeat("ann", task.item) is not None
    now[0] += 1e6
    submit_choice(queue, task, "ann", "a")
    assert [vote.label for vote in load_votes(store, "films").votes] == ["a"]
    assert gold_items(store, "films")[0].accuracy.hits == 1


def _draws(store: Store, queue: Queue, salt: str) -> bool:
    set_salt(store, salt)
    with store.reading() as session:
        return bool(queue._draw_gold_items(session, session.get_one(ProjectRow, "films"), "ann"))


def test_gold_items_are_never_exported(store: Store) -> None:
    queue = project(store, 2, gold=8, votes_per_item=1, gold_rate=0.5)
    judge_all(queue, "ann", lambda n: "b")
    rows = pair_preferences(store, "films").rows
    assert sorted(row.chosen.id for row in rows) == ["b0", "b1"]


def test_an_item_can_be_marked_as_gold_and_unmarked(store: Store) -> None:
    queue = project(store, 1, votes_per_item=2, gold_rate=0)
    task = take(queue, "ann")
    submit_choice(queue, task, "ann", "b")
    mark_gold(store, "films", task.item, {"choice": "second"})
    assert (queue.progress()["open"], queue.progress()["judgements"]) == (0, 0)
    assert queue.take("bob") is None, "at rate 0 nobody gets gold items"
    (gold,) = gold_items(store, "films")
    assert (gold.accuracy.hits, gold.accuracy.of, gold.answer) == (1, 1, {"choice": "second"})
    unmark_gold(store, "films", task.item)
    assert state_of(store, task.item) == ("open", 2)
    submit_choice(queue, take(queue, "bob"), "bob", "b")
    assert queue.progress()["done"] == 1
    with pytest.raises(DataError, match="does not fit the task 'pair'"):
        mark_gold(store, "films", task.item, {"order": [0, 1]})
    with pytest.raises(DataError, match="has no item 99"):
        mark_gold(store, "films", 99, {"choice": "first"})


def test_add_gold_adds_items_and_marks_existing_ones(store: Store) -> None:
    project(store, 1)
    existing, new = prompts_of("film 0?", "a new film?")
    rows = [
        Ranking(existing, (Completion("x", "b of 0"), Completion("y", "a of 0"))),
        Ranking(new, (Completion("good", "Good."), Completion("poor", "Poor."))),
    ]
    counts = add_gold(store, "films", [rows[0], Ranking(replace(new, id="new"), rows[1].completions)])
    assert (counts.added, counts.known) == (1, 1)
    answers = {gold.item: gold.answer["choice"] for gold in gold_items(store, "films")}
    assert sorted(answers.values()) == ["first", "second"], "b is the second completion of the existing item"
    assert answers[min(answers)] == "second"


def test_a_ranking_of_a_gold_item_is_correct_if_its_best_is(store: Store) -> None:
    queue = project(store, 0, gold=1, task="ranking", sides="abc", gold_rate=0.5)
    set_salt(store, next(s for s in map(str, range(99)) if _draws(store, queue, s)))
    task = take(queue, "ann")
    index = {c.id[0]: n for n, c in enumerate(task.completions)}
    queue.submit(NewJudgement("j", task.item, "ann", {"order": [index["a"], index["c"], index["b"]]}))
    (gold,) = gold_items(store, "films")
    assert (gold.accuracy.hits, gold.accuracy.of) == (1, 1)


def test_add_gold_refuses_projects_of_scores(small: Store) -> None:
    project(small, 1, task="rating")
    (prompt,) = prompts_of("film 0?")
    row = Ranking(prompt, (Completion("x", "One."), Completion("y", "Two.")))
    with pytest.raises(ConfigError, match="collects scores"):
        add_gold(small, "films", [row])
