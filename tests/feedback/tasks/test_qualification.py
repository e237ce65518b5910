"""Questions before the first item: order, answers, attempts, what they leave untouched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from annotating import project, take
from exported import pair_preferences
from sqlalchemy import select
from tiny import prompts_of

from gnomon.core.errors import DataError
from gnomon.core.types import Completion
from gnomon.feedback.quality.summary import annotator_table, quality_report
from gnomon.feedback.store.schema import ItemRow, QualificationAnswerRow
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.gold_items import gold_items
from gnomon.feedback.tasks.qualification import (
    AttemptResult,
    NewQuestion,
    Qualification,
    QualificationRecord,
    QuestionTask,
    reordered,
)
from gnomon.feedback.tasks.queue import NewJudgement, Queue


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def questions(count: int, sides: str = "ab", answer: Any = None) -> list[NewQuestion]:
    """Questions whose completion `a` is right."""
    return [
        NewQuestion(
            prompt,
            tuple(Completion(f"q{side}{n}", f"{side} of question {n}") for side in sides),
            answer or {"choice": "first"},
            f"Because *{n}*.",
        )
        for n, prompt in enumerate(prompts_of(*(f"question {n}?" for n in range(count))))
    ]


def own_prompts(count: int, *rest: Any) -> list[NewQuestion]:
    """The same with prompt ids of their own, beside a project's items."""
    made = questions(count, *rest)
    return [replace(one, prompt=replace(one.prompt, id=f"q-{one.prompt.id}")) for one in made]


def qualified_project(store: Store, count: int = 3, **settings: Any) -> tuple[Queue, Qualification]:
    queue = project(store, 2, gold_rate=0.0, **settings)
    qualification = Qualification(store, "films")
    assert qualification.add(own_prompts(count)) == count
    return queue, qualification


def question(qualification: Qualification, who: str) -> QuestionTask:
    state, task = qualification.next_question(who)
    assert state == "open"
    assert task is not None
    return task


def answer(qualification: Qualification, who: str, right: bool) -> Any:
    """Answer the next question right or wrong."""
    task = question(qualification, who)
    first_is_right = task.completions[0].id.startswith("qa")
    choice = "first" if first_is_right == right else "second"
    return qualification.answer(who, f"{who}-{task.attempt}-{task.item}", task.item, {"choice": choice})


def test_all_questions_come_once_and_enough_right_answers_qualify(store: Store) -> None:
    _, qualification = qualified_project(store, 5, qualification_pass=0.8)
    seen = []
    for number in range(5):
        task = question(qualification, "ann")
        assert (task.number, task.questions, task.attempt, task.attempts) == (number + 1, 5, 1, 2)
        seen.append(task.item)
        feedback = answer(qualification, "ann", right=number != 1)
        assert feedback.is_correct == (number != 1)
        assert feedback.explanation.startswith("Because *")
    assert len(set(seen)) == 5
    assert feedback.result == AttemptResult(4, 5, 4, True, 0)
    assert qualification.next_question("ann") == ("qualified", None)
    assert question(qualification, "bob").number == 1
    assert qualification.records() == {"ann": QualificationRecord("qualified", 1, 4, 5)}


def test_the_right_answer_is_that_of_the_displayed_order(store: Store) -> None:
    """Over several annotators both orders occur, so the right answer is sometimes the second."""
    _, qualification = qualified_project(store, 3)
    rights = set()
    for who in ("ann", "bob", "cyd"):
        for _ in range(3):
            task = question(qualification, who)
            feedback = answer(qualification, who, right=True)
            index = ("first", "second").index(feedback.right_answer["choice"])
            assert task.completions[index].id.startswith("qa")
            rights.add(index)
    assert rights == {0, 1}


def test_whoever_fails_may_try_again_in_another_order_until_the_limit(store: Store) -> None:
    _, qualification = qualified_project(store, 4, qualification_pass=1.0, qualification_attempts=2)
    for left in (1, 0):
        for number in range(4):
            feedback = answer(qualification, "ann", right=number > 0)
        assert feedback.result == AttemptResult(3, 4, 4, False, left)
    assert qualification.next_question("ann") == ("failed", None)
    with pytest.raises(DataError, match="is no question for annotator 'ann'"):
        qualification.answer("ann", "more", 3, {"choice": "first"})
    assert qualification.records()["ann"] == QualificationRecord("failed", 2, 3, 4)
    store.update_project(
        Project("films", "?", "pair", 2, 4, settings={"qualification_pass": 1.0, "qualification_attempts": 3})
    )
    assert question(qualification, "ann").attempt == 3


def test_the_order_differs_between_attempts_but_not_when_the_page_is_loaded_again(store: Store) -> None:
    _, qualification = qualified_project(store, 6, qualification_pass=1.0)
    orders = []
    for _ in range(2):
        order = []
        for _ in range(6):
            task = question(qualification, "ann")
            assert task == question(qualification, "ann")
            order.append(task.item)
            answer(qualification, "ann", right=False)
        orders.append(order)
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_sending_an_answer_twice_adds_nothing(store: Store) -> None:
    _, qualification = qualified_project(store, 2)
    task = question(qualification, "ann")
    once = qualification.answer("ann", "id", task.item, {"choice": "first"})
    assert qualification.answer("ann", "id", task.item, {"choice": "second"}) == once
    with pytest.raises(DataError, match="answered already"):
        qualification.answer("ann", "other id", task.item, {"choice": "second"})
    with pytest.raises(DataError, match="belongs to another answer"):
        qualification.answer("bob", "id", task.item, {"choice": "first"})
    with store.reading() as session:
        assert len(session.scalars(select(QualificationAnswerRow)).all()) == 1


def test_an_answer_of_another_task_is_refused(store: Store) -> None:
    _, qualification = qualified_project(store, 1)
    task = question(qualification, "ann")
    with pytest.raises(DataError, match="does not fit the task"):
        qualification.answer("ann", "id", task.item, {"order": [0, 1]})
    with pytest.raises(DataError, match="is no question"):
        qualification.answer("ann", "id", 1, {"choice": "first"})  # an ordinary item
    assert question(qualification, "ann") == task


def test_questions_are_neither_assigned_nor_exported_nor_counted(store: Store) -> None:
    queue, qualification = qualified_project(store, 3)
    for _ in range(3):
        answer(qualification, "ann", right=True)
    for name in ("ann", "bob"):
        for number in range(2):
            task = take(queue, name)
            queue.submit(NewJudgement(f"{name}{number}", task.item, name, {"choice": "tie"}))
        assert queue.take(name) is None
    assert queue.progress()["judgements"] == 4
    assert queue.progress()["closed"] == 0
    assert len(pair_preferences(store, "films").rows) == 2
    assert gold_items(store, "films") == []
    report = quality_report(store, "films")
    assert (report.votes, report.gold) == (4, 0)
    known = {row["id"]: row["qualification"] for row in annotator_table(store, "films")}
    assert known == {"ann": QualificationRecord("qualified", 1, 3, 3), "bob": None}


def test_an_existing_item_becomes_a_question_in_its_own_order(store: Store) -> None:
    project(store, 2)
    (prompt, *_) = store.prompts("films")
    swapped = (Completion("new b", "b of 0"), Completion("new a", "a of 0"))
    qualification = Qualification(store, "films")
    assert qualification.add([NewQuestion(prompt, swapped, {"choice": "first"}, "b is right")]) == 1
    assert qualification.add([NewQuestion(prompt, swapped, {"choice": "first"}, "b is better")]) == 0
    with store.reading() as session:
        assert session.get_one(ItemRow, 1).gold == {"choice": "second"}
    task = question(qualification, "ann")
    right = ("first", "second")[[one.text for one in task.completions].index("b of 0")]
    feedback = qualification.answer("ann", "id", task.item, {"choice": right})
    assert (feedback.is_correct, feedback.explanation) == (True, "b is better")


def test_without_questions_everybody_is_qualified(store: Store) -> None:
    _, qualification = qualified_project(store, 2, qualification_attempts=1)
    answer(qualification, "ann", right=False)
    assert (qualification.clear(), qualification.count()) == (2, 0)
    assert qualification.next_question("ann") == ("qualified", None)
    assert qualification.clear() == 0


def test_scores_and_rankings_are_right_if_the_same_completion_is_best(store: Store) -> None:
    store.add_project(Project("ranks", "Order?", "ranking", 1, 1))
    store.add_annotator("ann", id="ann")
    qualification = Qualification(store, "ranks")
    qualification.add(questions(1, "abc", {"order": [2, 0, 1]}))
    task = question(qualification, "ann")
    best = [one.id for one in task.completions].index("qc0")
    rest = [index for index in range(3) if index != best]
    feedback = qualification.answer("ann", "id", task.item, {"order": [best, *rest]})
    assert feedback.is_correct
    assert [task.completions[index].id for index in feedback.right_answer["order"]] == ["qc0", "qa0", "qb0"]


def test_a_question_of_another_task_is_refused_and_nothing_added(store: Store) -> None:
    project(store, 1)
    qualification = Qualification(store, "films")
    bad = own_prompts(2)
    with pytest.raises(DataError, match="does not fit the task"):
        qualification.add([bad[0], NewQuestion(bad[1].prompt, bad[1].completions, {"order": [0, 1]}, "")])
    assert qualification.count() == 0


@pytest.mark.parametrize(
    ("stored", "positions", "expected"),
    [
        ({"choice": "first"}, [1, 0], {"choice": "second"}),
        ({"choice": "second"}, [0, 1], {"choice": "second"}),
        ({"choice": "tie"}, [1, 0], {"choice": "tie"}),
        ({"order": [0, 1, 2]}, [2, 0, 1], {"order": [2, 0, 1]}),
        ({"scores": [{"a": 1}, {"a": 2}, {"a": 3}]}, [2, 0, 1], {"scores": [{"a": 2}, {"a": 3}, {"a": 1}]}),
    ],
)
def test_an_answer_in_another_order(stored: Any, positions: list[int], expected: Any) -> None:
    """Completion i of the answer's order stands at positions[i]."""
    assert reordered(stored, positions) == expected
