"""Qualification: questions with a known answer and an explanation, before an annotator's first item.

The questions are items of their own: closed, so that the queue assigns them to nobody, and with a known answer,
so that they are neither exported nor counted. The annotator sees the right answer and the explanation after each
question. An attempt is passed with the project's share of correct answers; whoever fails may try again, up to the
project's limit. Answers of rankings and scores are correct if the same completion is best.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.store import queries
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.resolution import completion_ids
from gnomon.feedback.store.schema import (
    AnnotatorRow,
    CompletionRow,
    ItemRow,
    ProjectRow,
    QualificationAnswerRow,
    QualificationAttemptRow,
    QualificationItemRow,
)
from gnomon.feedback.store.store import BankPrompt, Store, as_completion, as_prompt, require
from gnomon.feedback.task_types import Setup, check_answer, setup_of, vote_label
from gnomon.feedback.tasks.gold_items import check_known_answers

QualificationState = Literal["qualified", "open", "failed"]
QUESTIONS = (
    select(ItemRow, QualificationItemRow.explanation)
    .join(QualificationItemRow, QualificationItemRow.item == ItemRow.key)
    .where(ItemRow.gold.is_not(None))
    .order_by(ItemRow.key)
)


@dataclass(frozen=True)
class NewQuestion:
    """A question to add: a prompt, its completions, the correct answer in their order, and an explanation."""

    prompt: Prompt
    completions: tuple[Completion, ...]
    answer: Mapping[str, Any]
    explanation: str


@dataclass(frozen=True)
class QuestionTask:
    """A question for an annotator, with its number in the attempt.

    Attributes:
        item: key of the item.
        kind: the project's task.
        completions: in the order displayed in this attempt.
        number: number of the question in the attempt, from 1.
        questions: number of questions of the attempt.
        attempt: number of the attempt, from 1.
        attempts: number of attempts that the project allows.
    """

    item: int
    kind: str
    prompt: Prompt
    completions: tuple[Completion, ...]
    number: int
    questions: int
    attempt: int
    attempts: int


@dataclass(frozen=True)
class AttemptResult:
    """Result of a finished attempt.

    Attributes:
        correct: number of correct answers.
        questions: number of questions.
        required: number of correct answers that pass.
        passed: whether the annotator passed.
        attempts_left: number of further attempts.
    """

    correct: int
    questions: int
    required: int
    passed: bool
    attempts_left: int


@dataclass(frozen=True)
class QuestionFeedback:
    """Response to an answer.

    Attributes:
        is_correct: whether the answer is correct.
        right_answer: the correct answer; indices refer to the completions in the displayed order.
        explanation: why it is correct, as markdown.
        result: result of the attempt, after its last question.
    """

    is_correct: bool
    right_answer: dict[str, Any]
    explanation: str
    result: AttemptResult | None


@dataclass(frozen=True)
class QualificationRecord:
    """An annotator's qualification: number of attempts, and the last finished one."""

    state: QualificationState
    attempts: int
    correct: int | None
    questions: int | None


class Qualification:
    """Questions of one project, and annotators' attempts at them.

    Args:
        store: the feedback store.
        project: id of the project.
        clock: returns the time, in seconds since 1970.
    """

    def __init__(self, store: Store, project: str, *, clock: Callable[[], float] = time.time):
        self.store = store
        self.project = project
        self.clock = clock

    def add(self, questions: Sequence[NewQuestion]) -> int:
        """Add questions; return how many were added. An existing item becomes a question.

        Raises:
            ConfigError: annotators of the project write the answers.
            DataError: an answer does not fit the project's task, or completions are equal; nothing is added.
        """
        with self.store.writing() as session:
            project = require(session.get(ProjectRow, self.project), "project", self.project)
            check_known_answers(self.project, project.task)
            bank = [BankPrompt(one.prompt) for one in questions]
            prompts = add_prompts(self.store, self.project, bank, within=session).ids
            rows: list[tuple[str, Completion, dict[str, Any]]] = [
                (prompts[one.prompt.id], completion, {}) for one in questions for completion in one.completions
            ]
            ids = add_completions(self.store, self.project, rows, within=session).ids
            ordered = [[ids[completion.id] for completion in one.completions] for one in questions]
            add_items(self.store, self.project, ordered, within=session)
            session.flush()
            statement = select(CompletionRow.id, CompletionRow.key).where(CompletionRow.project == self.project)
            keys = {row.id: row.key for row in session.execute(statement)}
            added = 0
            for question, names in zip(questions, ordered, strict=True):
                members = [keys[name] for name in names]
                by_digest = select(ItemRow).where(
                    ItemRow.project == self.project, ItemRow.digest == digest(sorted(members))
                )
                item = session.scalars(by_digest.with_for_update()).one()
                own = [item.completions.index(key) for key in members]
                setup = setup_of(project.settings)
                answer = check_answer(project.task, setup, len(members), question.answer)
                answer.pop("rewrite", None)
                item.gold, item.state = reordered(answer, own), "closed"
                row = session.get(QualificationItemRow, item.key)
                if row is None:
                    session.add(QualificationItemRow(item=item.key, explanation=question.explanation))
                    added += 1
                else:
                    row.explanation = question.explanation
            return added

    def clear(self) -> int:
        """Remove all questions and return their number; their items stay closed, and attempts stay recorded."""
        with self.store.writing() as session:
            keys = select(ItemRow.key).where(ItemRow.project == self.project)
            removed = select(func.count()).select_from(QualificationItemRow)
            number = session.scalar(removed.where(QualificationItemRow.item.in_(keys)))
            session.execute(delete(QualificationItemRow).where(QualificationItemRow.item.in_(keys)))
            return int(number or 0)

    def count(self) -> int:
        """Return the number of questions."""
        with self.store.reading() as session:
            return len(self._questions(session))

    def next_question(self, annotator: str) -> tuple[QualificationState, QuestionTask | None]:
        """Return whether an annotator may judge, and otherwise their next question.

        Returns:
            `qualified` if the project has no questions or the annotator has passed; `failed` if they have no
            further attempts; `open` with the next question.
        """
        with self.store.reading() as session:
            questions = self._questions(session)
            if not questions:
                return "qualified", None
            project = require(session.get(ProjectRow, self.project), "project", self.project)
            setup = setup_of(project.settings)
            attempts = self._attempts(session, annotator)
            state = _state(attempts, setup)
            if state != "open":
                return state, None
            running = attempts[-1] if attempts and attempts[-1].passed is None else None
            number = running.number if running else len(attempts) + 1
            answered = self._answered(session, running)
            remaining = [
                item for item in self._order(project, annotator, number, questions) if item not in answered
            ]
            item = questions[remaining[0]][0]
            shown = self._shown(project, annotator, number, item)
            rows = {
                row.key: row for row in session.execute(queries.COMPLETIONS, {"completions": item.completions})
            }
            displayed = [rows[item.completions[index]] for index in shown]
            return "open", QuestionTask(
                item.key,
                project.task,
                as_prompt(displayed[0].PromptRow),
                tuple(as_completion(row, source=False) for row in displayed),
                len(questions) - len(remaining) + 1,
                len(questions),
                number,
                setup.qualification_attempts,
            )

    def answer(self, annotator: str, id: str, item: int, answer: Mapping[str, Any]) -> QuestionFeedback:
        """Store the answer to a question; a repeated request has no further effect.

        Args:
            annotator: id of the annotator.
            id: unique id chosen by the client.
            item: key of the question's item.
            answer: the answer; indices refer to the completions in the displayed order.

        Raises:
            DataError: the answer does not fit the task, the item is no question that the annotator has yet to
                answer, or the id belongs to another answer.
        """
        with self.store.writing() as session:
            lock = select(AnnotatorRow).where(AnnotatorRow.id == annotator).with_for_update()
            require(session.scalars(lock).first(), "annotator", annotator)
            project = require(session.get(ProjectRow, self.project), "project", self.project)
            setup, questions = setup_of(project.settings), self._questions(session)
            attempts = self._attempts(session, annotator)
            stored = session.get(QualificationAnswerRow, id)
            if stored is not None:
                own = {row.key: row for row in attempts}.get(stored.attempt)
                if own is None or stored.item != item or item not in questions:
                    raise DataError(f"answer id '{id}' belongs to another answer; use a new id.")
                return self._feedback(session, own, stored, questions, setup)
            if item not in questions or _state(attempts, setup) != "open":
                raise DataError(f"item {item} is no question for annotator '{annotator}'; load the page again.")
            attempt = attempts[-1] if attempts and attempts[-1].passed is None else None
            if item in self._answered(session, attempt):
                raise DataError(f"question {item} was answered already; load the page again.")
            if attempt is None:
                attempt = QualificationAttemptRow(
                    project=self.project,
                    annotator=annotator,
                    number=len(attempts) + 1,
                    questions=len(questions),
                    created=self.clock(),
                )
                session.add(attempt)
                session.flush()
            row = questions[item][0]
            checked = check_answer(project.task, setup, len(row.completions), answer)
            names = completion_ids(session, row)
            shown = [names[index] for index in self._shown(project, annotator, attempt.number, row)]
            is_correct = vote_label(checked, shown, names) == vote_label(row.gold or {}, names, names)
            stored = QualificationAnswerRow(
                id=id,
                attempt=attempt.key,
                item=item,
                shown=shown,
                answer=checked,
                correct=is_correct,
                created=self.clock(),
            )
            session.add(stored)
            session.flush()
            self._finish(session, attempt, questions, setup)
            return self._feedback(session, attempt, stored, questions, setup)

    def records(self) -> dict[str, QualificationRecord]:
        """Return the qualification of each annotator who has tried, by id."""
        with self.store.reading() as session:
            project = require(session.get(ProjectRow, self.project), "project", self.project)
            setup = setup_of(project.settings)
            statement = select(QualificationAttemptRow).where(QualificationAttemptRow.project == self.project)
            attempts: dict[str, list[QualificationAttemptRow]] = defaultdict(list)
            for row in session.scalars(statement.order_by(QualificationAttemptRow.number)):
                attempts[row.annotator].append(row)
            records = {}
            for annotator, rows in attempts.items():
                last = next((row for row in reversed(rows) if row.passed is not None), None)
                correct, questions = (last.correct, last.questions) if last else (None, None)
                records[annotator] = QualificationRecord(_state(rows, setup), len(rows), correct, questions)
            return records

    def _questions(self, session: Session) -> dict[int, tuple[ItemRow, str]]:
        """Return the questions with their explanations, by the item's key."""
        rows = session.execute(QUESTIONS.where(ItemRow.project == self.project)).all()
        return {item.key: (item, explanation) for item, explanation in rows}

    def _attempts(self, session: Session, annotator: str) -> list[QualificationAttemptRow]:
        """Return an annotator's attempts, in order; the last one may be unfinished."""
        statement = select(QualificationAttemptRow).where(
            QualificationAttemptRow.project == self.project, QualificationAttemptRow.annotator == annotator
        )
        return list(session.scalars(statement.order_by(QualificationAttemptRow.number)))

    def _answered(self, session: Session, attempt: QualificationAttemptRow | None) -> set[int]:
        """Return the items that were answered in an attempt."""
        if attempt is None:
            return set()
        statement = select(QualificationAnswerRow.item).where(QualificationAnswerRow.attempt == attempt.key)
        return set(session.scalars(statement))

    def _order(
        self, project: ProjectRow, annotator: str, attempt: int, questions: Mapping[int, Any]
    ) -> list[int]:
        """Return the questions in the order of an attempt."""
        order = sorted(questions)
        random.Random(digest([project.salt, annotator, attempt])).shuffle(order)
        return order

    def _shown(self, project: ProjectRow, annotator: str, attempt: int, item: ItemRow) -> list[int]:
        """Return the indices of an item's completions in the order displayed in an attempt."""
        order = list(range(len(item.completions)))
        random.Random(digest([project.salt, annotator, attempt, item.key])).shuffle(order)
        return order

    def _finish(
        self, session: Session, attempt: QualificationAttemptRow, questions: Mapping[int, Any], setup: Setup
    ) -> None:
        """Finish an attempt in which all questions are answered."""
        statement = select(QualificationAnswerRow.item, QualificationAnswerRow.correct).where(
            QualificationAnswerRow.attempt == attempt.key
        )
        answers = {row.item: row.correct for row in session.execute(statement) if row.item in questions}
        if len(answers) < len(questions):
            return
        attempt.questions, attempt.correct = len(questions), sum(answers.values())
        attempt.passed = attempt.correct >= _required(len(questions), setup)
        attempt.finished = self.clock()
        session.flush()

    def _feedback(
        self,
        session: Session,
        attempt: QualificationAttemptRow,
        stored: QualificationAnswerRow,
        questions: Mapping[int, tuple[ItemRow, str]],
        setup: Setup,
    ) -> QuestionFeedback:
        """Return the response to a stored answer."""
        item, explanation = questions[stored.item]
        names = completion_ids(session, item)
        displayed = [stored.shown.index(name) for name in names]
        result = None
        if attempt.passed is not None:
            result = AttemptResult(
                attempt.correct or 0,
                attempt.questions,
                _required(attempt.questions, setup),
                attempt.passed,
                0 if attempt.passed else max(0, setup.qualification_attempts - attempt.number),
            )
        return QuestionFeedback(stored.correct, reordered(item.gold or {}, displayed), explanation, result)


def reordered(answer: Mapping[str, Any], positions: Sequence[int]) -> dict[str, Any]:
    """Express an answer in another order of the completions.

    Args:
        answer: an answer, as `check_answer` returns it.
        positions: index in the other order of each completion of the answer's order.
    """
    if "choice" in answer:
        if answer["choice"] not in ("first", "second"):
            return {"choice": answer["choice"]}
        return {"choice": ("first", "second")[positions[("first", "second").index(answer["choice"])]]}
    if "order" in answer:
        return {"order": [positions[index] for index in answer["order"]]}
    scores: list[dict[str, Any]] = [{} for _ in positions]
    for position, own in zip(positions, answer["scores"], strict=True):
        scores[position] = dict(own)
    return {"scores": scores}


def _required(questions: int, setup: Setup) -> int:
    """Return the number of correct answers that pass; a share of 0.8 of 10 is 8, without rounding errors."""
    return math.ceil(round(setup.qualification_pass * questions, 9))


def _state(attempts: Sequence[QualificationAttemptRow], setup: Setup) -> QualificationState:
    """Return whether an annotator with these attempts has passed, failed, or may continue."""
    if any(row.passed for row in attempts):
        return "qualified"
    finished = sum(row.passed is not None for row in attempts)
    return "failed" if finished >= setup.qualification_attempts else "open"
