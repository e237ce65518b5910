"""The annotation queue: leases items to annotators and stores their judgements.

An item has `target_votes` slots; `resolve_item` raises the target by one, up to the project's `max_votes`, when
the votes do not reach a consensus. A slot is filled by a counted judgement, or by a lease that has not expired;
it is free again when the lease expires. A judgement that arrives after its lease counts if a slot is free;
otherwise it is surplus, and counts once a slot is free. A judgement is effective, and so either counted or
surplus, if it is not superseded by a correction and its annotator has not withdrawn.

Concurrent requests cannot fill a slot twice: SQLite has a single writer; on PostgreSQL the item is locked, and
its slots are counted while the lock is held.

With the probability `gold_rate` an annotator's next item is a gold item, whose correct answer is known. The draw
is seeded with the project's secret salt, the annotator, and their number of assignments. A gold item has
unlimited slots.

An item whose prompt requires a language, a domain or skills goes to people who have them. If no active person of
the project has them, it goes to anybody. Programs get all items.

An item whose answer is written has slots for texts, and, where the project requires approval, a slot for the
review of each text, which is assigned before another text is. Nobody reviews an item that they have written for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.requirements import stored_profile
from gnomon.feedback.store import queries
from gnomon.feedback.store.resolution import resolve_item
from gnomon.feedback.store.schema import (
    AssignmentRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
    effective_judgements,
)
from gnomon.feedback.store.store import Store, as_completion, as_prompt, require
from gnomon.feedback.store.written_work import Work, open_work
from gnomon.feedback.task_types import check_answer, setup_of
from gnomon.feedback.tasks.suitability import excluded_requirements
from gnomon.feedback.tasks.text_reviews import check_review, is_reviewed, with_verdict
from gnomon.feedback.written_answers import is_written

LEASE_SECONDS = 20 * 60.0
MAX_ATTEMPTS = 8  # to lease an item while other transactions have locked all that are left
GOLD_SLOTS = 1  # free slots of a gold item, however many judgements it has


@dataclass(frozen=True)
class AnnotationTask:
    """An item leased to an annotator.

    Attributes:
        item: key of the item.
        project: id of the project.
        kind: the project's task, such as `pair`.
        completions: in the order displayed to this annotator, without their sources.
        expires_at: time at which the lease ends, in seconds since 1970.
        draft: the unfinished answer, if one was saved.
        reviews: id of the judgement whose written text is to be reviewed; `None` for everything else.
        written: that text.
    """

    item: int
    project: str
    kind: str
    prompt: Prompt
    completions: tuple[Completion, ...]
    expires_at: float
    draft: dict[str, Any] | None = None
    reviews: str | None = None
    written: str | None = None


@dataclass(frozen=True)
class NewJudgement:
    """A judgement to submit.

    Attributes:
        id: unique id chosen by the client; submitting it again adds nothing.
        item: key of the item.
        annotator: id of the annotator.
        answer: answer of the project's task; indices refer to the completions in the displayed order.
        reason: the annotator's reason.
        confidence: the annotator's confidence, if the project requests it.
        corrects: id of an earlier judgement of the same annotator and item.
        seconds: `active` and `idle` time.
        invite: digest of the token of the link that opened the annotator's session, if they have one.
    """

    id: str
    item: int
    annotator: str
    answer: dict[str, Any]
    reason: str = ""
    confidence: float | None = None
    corrects: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    invite: str | None = None


@dataclass(frozen=True)
class JudgementReceipt:
    """Result of a submission: the judgement's id, whether it is surplus, and whether it was submitted before."""

    id: str
    surplus: bool
    duplicate: bool


class Queue:
    """Leases items of one project to annotators, and stores their judgements.

    Args:
        store: the feedback store.
        project: id of the project.
        lease_seconds: duration of a lease; a heartbeat starts it again.
        clock: returns the time, in seconds since 1970.
    """

    def __init__(
        self, store: Store, project: str, *, lease_seconds: float = LEASE_SECONDS, clock: Any = time.time
    ):
        self.store = store
        self.project = project
        self.lease_seconds = lease_seconds
        self.clock = clock

    def take(self, annotator: str) -> AnnotationTask | None:
        """Lease the next item: the annotator's current lease, else the most urgent item they have not seen.

        Returns:
            The leased item. `None` if no item is available to the annotator, if they are paused or have
            withdrawn, or if other transactions held or changed the available ones in all of `MAX_ATTEMPTS`.

        Raises:
            DataError: the annotator is unknown.
        """
        for attempt in range(MAX_ATTEMPTS):
            task, retry = self._take(annotator)
            if task or not retry:
                return task
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # other transactions have locked the items
        return None

    def _take(self, annotator: str) -> tuple[AnnotationTask | None, bool]:
        """Try once to lease an item.

        Returns:
            The leased item, if any, and whether another try may succeed since items were locked or changed.
        """
        now, retry = self.clock(), False
        with self.store.writing() as session:
            parameters = {"annotator": annotator, "project": self.project}
            rows = session.execute(queries.ANNOTATOR_CONTEXT, parameters).all()
            context = require(next(iter(rows), None), "annotator", annotator)
            state, project = context.state, context.ProjectRow
            if state != "active":
                return None, False
            require(project, "project", self.project)
            for assignment in (row[2] for row in rows if row[2] is not None):
                item = self._lock_item(session, assignment.item, wait=False)
                retry |= item is None
                if item is None or item.state not in queries.JUDGEABLE_STATES:
                    continue
                # The annotator's own expired lease is renewed if the item has a free slot.
                if self._keeps_slot(session, project, item, assignment, now):
                    assignment.until = now + self.lease_seconds
                    return _make_task(session, project, item, assignment), False
            excluded = (
                excluded_requirements(session, self.project, stored_profile(context.profile))
                if context.has_requirements
                else []
            )
            for item in self._candidates(session, project, annotator, now, excluded):
                retry |= item is None
                if item is None or item.state not in queries.JUDGEABLE_STATES:
                    continue
                slot = {"item": item.key, "annotator": annotator, "now": now}
                filled, assigned, has_surplus = session.execute(queries.SLOT_STATE, slot).one()
                free_slots = GOLD_SLOTS if item.state == "gold" else item.target_votes - filled
                if has_surplus and free_slots > 0:  # a surplus judgement fills a slot before a new lease does
                    resolve_item(session, item, project, now)
                    free_slots = self._free_slots(session, item, now)
                if item.state not in queries.JUDGEABLE_STATES or free_slots <= 0:
                    retry = True  # the item changed before it was locked; others may be free
                    continue
                if assigned:
                    retry = True  # a concurrent request of this annotator leased it: the next try returns it
                    continue
                work = None
                if not item.completions and (work := open_work(session, project, item, now).next()) is None:
                    retry = True
                    continue
                display_order = _display_order(len(item.completions), annotator, item.key)
                assignment = AssignmentRow(
                    item=item.key,
                    annotator=annotator,
                    shown=display_order,
                    until=now + self.lease_seconds,
                    reviews=work.reviews if work else None,
                    created=now,
                )
                session.add(assignment)
                session.flush()
                return _make_task(session, project, item, assignment), False
            parameters = {"project": self.project, "now": now}
            for key in session.scalars(queries.SURPLUS_TO_COUNT, parameters).all():
                if (item := self._lock_item(session, key, wait=False)) is not None:
                    resolve_item(session, item, project, now)
        return None, retry

    def heartbeat(self, annotator: str, item: int, draft: dict[str, Any] | None = None) -> float | None:
        """Extend a lease.

        Args:
            annotator: id of the annotator.
            item: key of the item.
            draft: the unfinished answer to save, if any.

        Returns:
            The end of the lease, in seconds since 1970. `None` if the item is not leased to the annotator, or if
            the lease has expired and no slot is free; in the latter case the draft is saved.
        """
        now = self.clock()
        with self.store.writing() as session:
            row = self._lock_item(session, item)
            assignment = self._assignment(session, annotator, item)
            if row is None or assignment is None or assignment.state != "leased":
                return None
            if draft is not None:
                assignment.draft = draft
            if assignment.until <= now:
                project = require(session.get(ProjectRow, self.project), "project", self.project)
                if not self._has_free_slot(session, project, row, assignment, now):
                    return None
            assignment.until = now + self.lease_seconds
            return assignment.until

    def skip(self, annotator: str, item: int, reason: str) -> None:
        """Skip a leased item: its slot is free, and the annotator does not get it again.

        Args:
            annotator: id of the annotator.
            item: key of the item.
            reason: the annotator's reason.

        Raises:
            DataError: there is no such item, or it was never leased to this annotator.
        """
        with self.store.writing() as session:
            row = require(self._lock_item(session, item), "item", item)
            assignment = self._require_assignment(session, annotator, item)
            if assignment.state == "leased":
                # The column `draft` holds the reason of a skipped item.
                assignment.state, assignment.draft = "skipped", {"reason": reason}
                session.flush()
                project = require(session.get(ProjectRow, self.project), "project", self.project)
                resolve_item(session, row, project)

    def submit(self, judgement: NewJudgement) -> JudgementReceipt:
        """Store a judgement and resolve its item.

        Raises:
            DataError: the answer does not fit the project's task, the item was never leased to this annotator,
                they have withdrawn, the id belongs to another judgement, or a correction names a judgement of
                somebody else, of another item, or one that is corrected already.
        """
        now = self.clock()
        with self.store.writing() as session:
            # Lock the annotator before the item, in the order of a withdrawal, to avoid a deadlock.
            state = session.scalar(queries.ANNOTATOR_STATE, {"annotator": judgement.annotator})
            state = require(state, "annotator", judgement.annotator)
            item = require(self._lock_item(session, judgement.item), "item", judgement.item)
            parameters = {
                "item": judgement.item,
                "annotator": judgement.annotator,
                "judgement": judgement.id,
                "project": self.project,
                "completions": item.completions,
            }
            rows = session.execute(queries.SUBMISSION_CONTEXT, parameters).all()
            # One row per completion, with its key and id; the other columns are the same in all rows.
            project, assignment, earlier, _completion_key, _completion_id = rows[0]
            setup = setup_of(project.settings)
            answer = check_answer(project.task, setup, len(item.completions), judgement.answer)
            if is_written(answer):
                answer = with_verdict(session, judgement.item, answer)
            if earlier is not None:
                if (earlier.item, earlier.annotator, earlier.answer) != (
                    judgement.item,
                    judgement.annotator,
                    answer,
                ):
                    raise DataError(f"judgement id '{judgement.id}' belongs to another judgement; use a new id.")
                return JudgementReceipt(earlier.id, earlier.surplus, duplicate=True)
            if state == "withdrawn":
                raise DataError(
                    f"annotator '{judgement.annotator}' has withdrawn and can submit nothing; "
                    "set them to active first."
                )
            assignment = _require_assigned(assignment, judgement.annotator, judgement.item)
            if is_written(answer):
                check_review(session, project, item, assignment, answer)
            if judgement.corrects is not None:
                surplus = self._corrected_judgement(session, judgement, now).surplus
            elif assignment.state == "done":
                raise DataError(
                    f"annotator '{judgement.annotator}' has judged item {judgement.item}; correct it instead."
                )
            else:
                has_lease = assignment.state == "leased" and assignment.until > now
                surplus = not (has_lease or self._has_free_slot(session, project, item, assignment, now))
            completion_ids = {row.key: row.id for row in rows}
            displayed_ids = [completion_ids[item.completions[index]] for index in assignment.shown]
            session.add(
                JudgementRow(
                    id=judgement.id,
                    item=judgement.item,
                    annotator=judgement.annotator,
                    shown=displayed_ids,
                    answer=answer,
                    reason=judgement.reason,
                    confidence=judgement.confidence,
                    seconds=judgement.seconds,
                    surplus=surplus,
                    supersedes=judgement.corrects,
                    invite=judgement.invite,
                    created=now,
                )
            )
            assignment.state, assignment.draft = "done", None
            session.flush()
            resolve_item(session, item, project, now)
            return JudgementReceipt(judgement.id, surplus, duplicate=False)

    def last_judgement(self, annotator: str) -> tuple[AnnotationTask, JudgementRow] | None:
        """Return the annotator's last judgement, with its item as they saw it; `None` without one."""
        with self.store.reading() as session:
            parameters = {"annotator": annotator, "project": self.project}
            row = session.scalars(queries.LAST_JUDGEMENT, parameters).first()
            if row is None:
                return None
            item, project = session.get_one(ItemRow, row.item), session.get_one(ProjectRow, self.project)
            assignment = self._require_assignment(session, annotator, row.item)
            return _make_task(session, project, item, assignment), row

    def displayed_texts(self, annotator: str, item: int) -> list[str]:
        """Return the texts of an item's completions, in the order displayed to the annotator.

        For a completion of several turns it is the text of the last turn, which a rewrite replaces.

        Raises:
            DataError: the item was never leased to this annotator.
        """
        with self.store.reading() as session:
            assignment = self._require_assignment(session, annotator, item)
            row = require(session.get(ItemRow, item), "item", item)
            rows = _displayed_completions(session, row, assignment)
            completions = [as_completion(row, source=False) for row in rows]
            return [one.text if one.turns is None else one.turns[-1].content for one in completions]

    def judged_count(self, annotator: str) -> int:
        """Return the number of items of the project that the annotator has judged."""
        return self._count(queries.JUDGED_COUNT, annotator)

    def remaining_count(self, annotator: str) -> int:
        """Return the maximum number of items that the annotator may still get: open ones, and all gold ones."""
        return self._count(queries.REMAINING_COUNT, annotator)

    def _count(self, statement: Any, annotator: str) -> int:
        with self.store.reading() as session:
            return int(session.scalar(statement, {"annotator": annotator, "project": self.project}) or 0)

    def progress(self) -> dict[str, int]:
        """Return the numbers of items by state, of counted `judgements` and of `surplus` ones, without gold."""
        with self.store.reading() as session:
            states = session.execute(
                select(ItemRow.state, func.count())
                .where(ItemRow.project == self.project, ItemRow.gold.is_(None))
                .group_by(ItemRow.state)
            ).all()
            surplus = session.execute(
                effective_judgements(JudgementRow.surplus, func.count())
                .join(ItemRow, ItemRow.key == JudgementRow.item)
                .where(ItemRow.project == self.project, ItemRow.gold.is_(None))
                .group_by(JudgementRow.surplus)
            ).all()
            counts = {bool(is_surplus): n for is_surplus, n in surplus}
            return {
                **dict.fromkeys(("open", "done", "disputed", "closed"), 0),
                **{str(row[0]): int(row[1]) for row in states},
                "judgements": counts.get(False, 0),
                "surplus": counts.get(True, 0),
            }

    def _assignment(self, session: Session, annotator: str, item: int) -> AssignmentRow | None:
        parameters = {"annotator": annotator, "project": self.project, "item": item}
        return session.scalars(queries.ASSIGNMENT, parameters).first()

    def _require_assignment(self, session: Session, annotator: str, item: int) -> AssignmentRow:
        """Return the assignment of an item to an annotator, or raise `DataError` without one."""
        return _require_assigned(self._assignment(session, annotator, item), annotator, item)

    def _lock_item(self, session: Session, item: int, *, wait: bool = True) -> ItemRow | None:
        """Lock an item until this transaction ends; without waiting, `None` if another transaction has it."""
        statement = queries.LOCK_ITEM if wait else queries.TRY_LOCK_ITEM
        return session.scalars(statement, {"item": item, "project": self.project}).first()

    def _candidates(
        self, session: Session, project: ProjectRow, annotator: str, now: float, excluded: list[str]
    ) -> Iterator[ItemRow | None]:
        """Yield items that this transaction has locked, and `None` where another transaction has locked one.

        Drawn gold items come first, then others by priority; the last `None` stands for all that remain.
        """
        for key in self._draw_gold_items(session, project, annotator, excluded):
            yield self._lock_item(session, key, wait=False)
        parameters = {"annotator": annotator, "project": self.project, "now": now, "excluded": excluded}
        for _ in range(queries.MAX_CANDIDATES):
            if (item := session.scalars(queries.NEXT_ITEM, parameters).first()) is None:
                break
            yield item
        if session.scalar(queries.HAS_AVAILABLE_ITEM, parameters):
            yield None

    def _draw_gold_items(
        self, session: Session, project: ProjectRow, annotator: str, excluded: Sequence[str] = ()
    ) -> list[int]:
        """Draw whether the next item is a gold one; return unseen gold items in random order, or none."""
        rate = setup_of(project.settings).gold_rate
        if not rate:
            return []
        parameters = {"annotator": annotator, "project": self.project}
        assignments = session.scalar(queries.ASSIGNMENT_COUNT, parameters)
        rng = random.Random(digest([project.salt, annotator, assignments]))
        if rng.random() >= rate:
            return []
        keys = list(session.scalars(queries.UNSEEN_GOLD, {**parameters, "excluded": list(excluded)}))
        rng.shuffle(keys)
        return keys[: queries.MAX_CANDIDATES]

    def _free_slots(self, session: Session, item: ItemRow, now: float) -> int:
        """Count the free slots of a locked item."""
        if item.state == "gold":
            return GOLD_SLOTS
        return item.target_votes - int(session.scalar(queries.FILLED_SLOTS, {"item": item.key, "now": now}) or 0)

    def _has_slot(
        self, session: Session, project: ProjectRow, item: ItemRow, assignment: AssignmentRow, now: float
    ) -> bool:
        """Return whether an assignment has a slot of a locked item: its lease has not expired, or one is free."""
        return assignment.until > now or self._has_free_slot(session, project, item, assignment, now)

    def _has_free_slot(
        self, session: Session, project: ProjectRow, item: ItemRow, assignment: AssignmentRow, now: float
    ) -> bool:
        """Return whether a locked item has a free slot for what an annotator does on it."""
        if item.completions:
            return self._free_slots(session, item, now) > 0
        return open_work(session, project, item, now, assignment).has(Work(assignment.reviews))

    def _keeps_slot(
        self, session: Session, project: ProjectRow, item: ItemRow, assignment: AssignmentRow, now: float
    ) -> bool:
        """Return whether an annotator keeps a leased item; a review of a text that is gone becomes other work."""
        if item.completions or assignment.reviews is None:
            return self._has_slot(session, project, item, assignment, now)
        work = open_work(session, project, item, now, assignment)
        is_live = assignment.until > now and assignment.reviews in work.progress.ids
        if is_live or work.has(Work(assignment.reviews)):
            return True
        if (other := work.next()) is None:
            return False
        assignment.reviews, assignment.draft = other.reviews, None
        return True

    def _corrected_judgement(self, session: Session, judgement: NewJudgement, now: float) -> JudgementRow:
        """Return the judgement that this one corrects."""
        row = session.scalars(queries.JUDGEMENT_BY_ID, {"judgement": judgement.corrects}).first()
        if row is None or (row.item, row.annotator) != (judgement.item, judgement.annotator):
            raise DataError(
                f"judgement '{judgement.corrects}' is not by '{judgement.annotator}' on item {judgement.item}; "
                "correct one that is."
            )
        if session.scalar(queries.IS_CORRECTED, {"judgement": judgement.corrects}):
            raise DataError(f"judgement '{judgement.corrects}' was corrected already; correct the newer one.")
        if is_written(row.answer) and is_reviewed(session, row, now):
            raise DataError(f"judgement '{judgement.corrects}' is under review and stays as it is.")
        return row


def _require_assigned(assignment: AssignmentRow | None, annotator: str, item: int) -> AssignmentRow:
    if assignment is None:
        raise DataError(f"item {item} was never leased to annotator '{annotator}'; judge a leased item.")
    return assignment


def _make_task(session: Session, project: ProjectRow, item: ItemRow, assignment: AssignmentRow) -> AnnotationTask:
    rows = _displayed_completions(session, item, assignment)
    prompt = rows[0].PromptRow if rows else session.get_one(PromptRow, item.prompt)
    written = None
    if assignment.reviews is not None:
        reviewed = session.scalars(queries.JUDGEMENT_BY_ID, {"judgement": assignment.reviews}).one()
        written = str(reviewed.answer["text"])
    return AnnotationTask(
        item.key,
        project.id,
        project.task,
        as_prompt(prompt),
        tuple(as_completion(row, source=False) for row in rows),
        assignment.until,
        assignment.draft,
        assignment.reviews,
        written,
    )


def _displayed_completions(session: Session, item: ItemRow, assignment: AssignmentRow) -> list[Any]:
    """Return rows of `queries.COMPLETIONS` in the order displayed to the annotator."""
    rows = {row.key: row for row in session.execute(queries.COMPLETIONS, {"completions": item.completions})}
    return [rows[item.completions[index]] for index in assignment.shown]


def _display_order(count: int, annotator: str, item: int) -> list[int]:
    """Shuffle the indices of completions, reproducibly for an annotator and an item."""
    order = list(range(count))
    random.Random(digest([annotator, item])).shuffle(order)
    return order
