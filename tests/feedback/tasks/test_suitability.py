"""Assignment of items by what they require."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotating import downgrade, submit_choice, take
from sqlalchemy import event, select
from tiny import prompts_of

from gnomon.core.errors import DataError
from gnomon.core.types import Completion
from gnomon.feedback.requirements import NO_REQUIREMENT, Requirement, profile, requirement
from gnomon.feedback.store import queries
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import AnnotatorRow, ItemRow, RequirementRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.gold_items import mark_gold
from gnomon.feedback.tasks.queue import Queue
from gnomon.feedback.tasks.suitability import requirement_status, set_domains

LAW, CHINESE = requirement(domain="law"), requirement("zh")


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def fill(store: Store, *needed: Requirement, **settings: Any) -> Queue:
    """A project with one item of a single vote for each requirement."""
    store.add_project(Project("films", "Which is better?", "pair", 1, 1, settings=settings))
    prompts = prompts_of(*(f"film {n}?" for n in range(len(needed))))
    bank = [BankPrompt(prompt, requirement=one) for prompt, one in zip(prompts, needed, strict=True)]
    add_prompts(store, "films", bank)
    for n in range(len(needed)):
        both = [Completion(f"{side}{n}", f"{side} of {n}") for side in "ab"]
        add_completions(store, "films", [(f"p{n}", one, {}) for one in both])
    add_items(store, "films", [[f"a{n}", f"b{n}"] for n in range(len(needed))])
    return Queue(store, "films")


def invite(store: Store, name: str, **known: list[str]) -> str:
    """Invite a person with a profile; return their id."""
    Access(store).invite("films", name)
    with store.reading() as session:
        row = session.scalars(select(AnnotatorRow).where(AnnotatorRow.name == name)).one()
    store.set_profile(row.id, profile(**known))
    return row.id


def judge_all(queue: Queue, who: str) -> list[int]:
    """Judge all items that a person gets; return the numbers of their prompts."""
    numbers = []
    while (task := queue.take(who)) is not None:
        numbers.append(int(task.prompt.id[1:]))
        submit_choice(queue, task, who, "a")
    return sorted(numbers)


def test_items_go_to_those_who_can_judge_them(store: Store) -> None:
    queue = fill(store, NO_REQUIREMENT, LAW, CHINESE, requirement("zh", "law"))
    ann, bob = invite(store, "Ann", domains=["law"]), invite(store, "Bob", languages=["zh-CN"], domains=["Law"])
    cyd = invite(store, "Cyd")
    assert judge_all(queue, cyd) == [0]
    assert judge_all(queue, ann) == [1]
    assert judge_all(queue, bob) == [2, 3]


def test_items_that_nobody_can_judge_go_to_everybody(store: Store) -> None:
    queue = fill(store, LAW, CHINESE)
    ann, bob = invite(store, "Ann", languages=["en"]), invite(store, "Bob", languages=["zh"])
    status = {str(one.requirement): (one.open_items, one.people) for one in requirement_status(store, "films")}
    assert status == {"language zh": (1, 1), "domain law": (1, 0)}
    assert judge_all(queue, ann) == [0]
    assert judge_all(queue, bob) == [1]


@pytest.mark.parametrize("state", ["paused", "withdrawn"])
def test_a_person_who_gets_no_items_reserves_none(store: Store, state: str) -> None:
    queue = fill(store, LAW)
    lawyer, ann = invite(store, "Lea", domains=["law"]), invite(store, "Ann")
    assert queue.take(ann) is None
    store.set_annotator(lawyer, state)
    assert judge_all(queue, ann) == [0]


def test_a_person_without_a_valid_link_reserves_nothing(store: Store) -> None:
    queue = fill(store, LAW)
    lawyer, ann = invite(store, "Lea", domains=["law"]), invite(store, "Ann")
    Access(store).revoke(lawyer)
    assert judge_all(queue, ann) == [0]


def test_a_leased_item_stays_with_its_annotator(store: Store) -> None:
    queue = fill(store, LAW)
    ann = invite(store, "Ann")
    item = take(queue, ann).item
    invite(store, "Lea", domains=["law"])
    assert take(queue, ann).item == item


def test_gold_items_test_only_those_who_can_judge_them(store: Store) -> None:
    queue = fill(store, LAW, NO_REQUIREMENT, gold_rate=0.5)
    ann, lawyer = invite(store, "Ann"), invite(store, "Lea", domains=["law"])
    with store.reading() as session:
        (item,) = session.scalars(select(ItemRow.key).where(ItemRow.requirement == LAW.key))
    mark_gold(store, "films", item, {"choice": "first"})
    with store.reading() as session:
        unseen = {
            who: session.scalars(
                queries.UNSEEN_GOLD, {"project": "films", "annotator": who, "excluded": excluded}
            ).all()
            for who, excluded in ((ann, [LAW.key]), (lawyer, []))
        }
    assert unseen == {ann: [], lawyer: [item]}
    assert judge_all(queue, ann) == [1]


def test_programs_get_all_items(store: Store) -> None:
    queue = fill(store, LAW, CHINESE)
    invite(store, "Lea", domains=["law"], languages=["zh"])
    judge = store.add_annotator("model", kind="judge")
    assert judge_all(queue, judge) == [0, 1]
    with pytest.raises(DataError, match="is a judge, which gets all items"):
        store.set_profile(judge, profile(["zh"]))


def test_domains_set_later_apply_to_prompts_and_items(store: Store) -> None:
    queue = fill(store, NO_REQUIREMENT, CHINESE, LAW)
    assert set_domains(store, "films", {"p0": "Cooking", "p1": "law", "p2": ""}) == 3
    needed = [one.requirement for one in store.bank("films")]
    assert needed == [requirement(domain="cooking"), requirement("zh", "law"), NO_REQUIREMENT]
    with store.reading() as session:
        items = list(session.scalars(select(ItemRow.requirement).order_by(ItemRow.key)))
        keys = set(session.scalars(select(RequirementRow.key)))
    assert items == [one.key for one in needed]
    assert keys == set(items) - {None}
    assert set_domains(store, "films", {"p0": "cooking"}) == 0
    cook, ann = invite(store, "Cora", domains=["cooking"]), invite(store, "Ann")
    assert judge_all(queue, ann) == [1, 2]
    assert judge_all(queue, cook) == [0]


def test_items_of_an_older_store_require_nothing(database: str) -> None:
    store = Store(database)
    fill(store, NO_REQUIREMENT, NO_REQUIREMENT)
    downgrade(store, "0006")
    store.close()
    again = Store(database)
    assert requirement_status(again, "films") == []
    assert set_domains(again, "films", {"p1": "law"}) == 1
    invite(again, "Lea", domains=["law"])
    assert judge_all(Queue(again, "films"), invite(again, "Ann")) == [0]
    again.close()


def test_a_requirement_that_is_met_costs_a_lease_one_statement(tmp_path: Path) -> None:
    """The profiles of others are read only where a requirement is not met."""
    store = Store(tmp_path / "store.db")
    queue, statements = fill(store, LAW, LAW, gold_rate=0.0), list[str]()
    lawyer, ann = invite(store, "Lea", domains=["law"]), invite(store, "Ann")
    event.listen(store.engine, "before_cursor_execute", lambda c, cursor, sql, *rest: statements.append(sql))
    take(queue, lawyer)
    assert len(statements) - 1 == 5 + 1
    assert queue.take(ann) is None
    assert sum("FROM annotators" in sql and "profile IS NOT NULL" in sql for sql in statements) == 1
    store.close()
