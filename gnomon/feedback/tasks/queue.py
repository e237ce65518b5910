"""Who is asked what: items lent to annotators, exactly as many judgements an item as are wanted.

An item has as many places as it wants judgements. A place is taken by a judgement that counts or by a lease that
has not run out; what runs out is free again. A late answer is kept: as one that counts if the place is still
free, as surplus otherwise, which counts once a place is free after all. Annotators who ask at once are told apart
by the database: on SQLite a writer is alone, on PostgreSQL an item is locked and its places are counted again
behind the lock.

Among an annotator's questions are gold ones, whose answer is known: each question is one with the project's
`gold_rate`, drawn by a secret of the project, the annotator, and how many they were given. A gold item has places
without end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.store import queries
from gnomon.feedback.store.resolution import settle
from gnomon.feedback.store.schema import (
    AssignmentRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    standing,
)
from gnomon.feedback.store.store import Store, as_completion, as_prompt, existing
from gnomon.feedback.task_types import check_answer, setup_of

LEASE = 20 * 60.0  # seconds
ATTEMPTS = 8  # of taking an item, while others hold all that are left
ENDLESS = 1  # places of a gold item, however many are taken


@dataclass(frozen=True)
class AnnotationTask:
    """An item as one annotator is asked it.

    Attributes:
        item: its number in the store.
        completions: in the order in which this annotator sees them; their sources stay in the store.
        until: when the lease ends, in seconds since 1970.
        draft: what was answered so far.
    """

    item: int
    project: str
    kind: str
    prompt: Prompt
    completions: tuple[Completion, ...]
    until: float
    draft: dict[str, Any] | None = None


@dataclass(frozen=True)
class NewJudgement:
    """An answer on its way into the store.

    Attributes:
        id: made by whoever answers, once; sending it again adds nothing.
        answer: what was said of the completions in the order in which they were shown.
        corrects: the id of an earlier judgement of the same annotator.
        seconds: active and idle time.
    """

    id: str
    item: int
    annotator: str
    answer: dict[str, Any]
    reason: str = ""
    confidence: float | None = None
    corrects: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgementReceipt:
    """What became of an answer: its id, whether it is surplus, and whether it was there before."""

    id: str
    surplus: bool
    again: bool


class Queue:
    """Lends items of one project and takes answers.

    Args:
        store: where everything is.
        project: whose items are lent.
        lease: seconds for which an item is lent; a heartbeat begins them anew.
        clock: what time it is, in seconds since 1970.
    """

    def __init__(self, store: Store, project: str, *, lease: float = LEASE, clock: Any = time.time):
        self.store = store
        self.project = project
        self.lease = lease
        self.clock = clock

    def take(self, annotator: str) -> AnnotationTask | None:
        """The annotator's next item: the one they hold, or the most wanted that they never saw; `None`: nothing.

        Raises:
            DataError: the annotator is not known.
        """
        for attempt in range(ATTEMPTS):
            found, passed_over = self._take(annotator)
            if found or not passed_over:
                return found
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # others decide about those that are left
        return None

    def _take(self, annotator: str) -> tuple[AnnotationTask | None, bool]:
        """A task, if one is free now, and whether there were items that others were just deciding about."""
        now, passed_over = self.clock(), False
        with self.store.writing() as session:
            whose = {"annotator": annotator, "project": self.project}
            found = session.execute(queries.ASKER, whose).all()
            state, project, _ = existing(next(iter(found), None), "annotator", annotator)
            if state != "active":
                return None, False
            existing(project, "project", self.project)
            for assignment in (held for _, _, held in found if held is not None):
                item = self._locked(session, assignment.item, wait=False)
                passed_over |= item is None
                if item is None or item.state not in queries.ASKED:
                    continue
                # A lease of one's own that ran out may be taken up again while the item has a place.
                if assignment.until > now or self._free(session, item, now) > 0:
                    assignment.until = now + self.lease
                    return _task(session, project, item, assignment), False
            for item in self._candidates(session, project, annotator, now):
                passed_over |= item is None
                if item is None or item.state not in queries.ASKED:
                    continue
                which = {"item": item.key, "annotator": annotator, "now": now}
                taken, lent, late = session.execute(queries.ROOM, which).one()
                free = ENDLESS if item.state == "gold" else item.target_votes - taken
                if late and free > 0:  # its place is for who came late, before anybody is asked
                    settle(session, item, project, now)
                    free = self._free(session, item, now)
                if item.state not in queries.ASKED or free <= 0:
                    passed_over = True  # decided behind the lock: there may be others
                    continue
                if lent:
                    passed_over = True  # they asked twice at once: the next look finds it as held
                    continue
                assignment = AssignmentRow(
                    item=item.key,
                    annotator=annotator,
                    shown=_order(len(item.completions), annotator, item.key),
                    until=now + self.lease,
                    created=now,
                )
                session.add(assignment)
                session.flush()
                return _task(session, project, item, assignment), False
            for key in session.scalars(queries.STRANDED, {"project": self.project, "now": now}).all():
                if (item := self._locked(session, key, wait=False)) is not None:
                    settle(session, item, project, now)
        return None, passed_over

    def heartbeat(self, annotator: str, item: int, draft: dict[str, Any] | None = None) -> float | None:
        """Keep the draft and begin the lease anew; returns its end, or `None` where the item is lent no more."""
        now = self.clock()
        with self.store.writing() as session:
            row = self._locked(session, item)
            found = self._lent(session, annotator, item)
            if row is None or found is None or found.state != "leased":
                return None
            if draft is not None:
                found.draft = draft
            if found.until <= now and self._free(session, row, now) <= 0:
                return None
            found.until = now + self.lease
            return found.until

    def skip(self, annotator: str, item: int, reason: str) -> None:
        """Give an item back for good; the place is free, and this annotator is not asked again."""
        with self.store.writing() as session:
            row = existing(self._locked(session, item), "item", item)
            found = self._assigned(session, annotator, item)
            if found.state == "leased":
                found.state, found.draft = "skipped", {"reason": reason}
                session.flush()
                settle(session, row, existing(session.get(ProjectRow, self.project), "project", self.project))

    def submit(self, said: NewJudgement) -> JudgementReceipt:
        """Keep an answer.

        Raises:
            DataError: the answer is none of the project's task, the item was never lent to this annotator, they
                have withdrawn, the id is another answer's, or a correction names a judgement that is not theirs
                or is corrected already.
        """
        now = self.clock()
        with self.store.writing() as session:
            # Before the item, as a withdrawal does, so that neither waits for the other.
            known_as = session.scalar(queries.PERSON, {"annotator": said.annotator})
            state = existing(known_as, "annotator", said.annotator)
            item = existing(self._locked(session, said.item), "item", said.item)
            which = {"item": said.item, "annotator": said.annotator, "judgement": said.id}
            found = session.execute(queries.ANSWER, {**which, "completions": item.completions}).all()
            project, assignment, known, _, _ = found[0]
            answer = check_answer(project.task, setup_of(project.settings), len(item.completions), said.answer)
            if known is not None:
                if (known.item, known.annotator, known.answer) != (said.item, said.annotator, answer):
                    raise DataError(f"judgement id '{said.id}' is of another answer; make a new one.")
                return JudgementReceipt(known.id, known.surplus, again=True)
            if state == "withdrawn":
                raise DataError(f"annotator '{said.annotator}' has withdrawn; nothing more is taken of them.")
            assignment = _given(assignment, said.annotator, said.item)
            if said.corrects is not None:
                surplus = self._corrected(session, said).surplus
            elif assignment.state == "done":
                raise DataError(f"annotator '{said.annotator}' has judged item {said.item}; correct it instead.")
            else:
                holds = assignment.state == "leased" and assignment.until > now
                surplus = not (holds or self._free(session, item, now) > 0)
            names = {row.key: row.id for row in found}
            session.add(
                JudgementRow(
                    id=said.id,
                    item=said.item,
                    annotator=said.annotator,
                    shown=[names[item.completions[place]] for place in assignment.shown],
                    answer=answer,
                    reason=said.reason,
                    confidence=said.confidence,
                    seconds=said.seconds,
                    surplus=surplus,
                    supersedes=said.corrects,
                    created=now,
                )
            )
            assignment.state, assignment.draft = "done", None
            session.flush()
            settle(session, item, project, now)
            return JudgementReceipt(said.id, surplus, again=False)

    def last(self, annotator: str) -> tuple[AnnotationTask, JudgementRow] | None:
        """What the annotator judged last: the item as they saw it, and their judgement."""
        with self.store.reading() as session:
            found = session.scalars(queries.LAST, {"annotator": annotator, "project": self.project}).first()
            if found is None:
                return None
            item, project = session.get_one(ItemRow, found.item), session.get_one(ProjectRow, self.project)
            return _task(session, project, item, self._assigned(session, annotator, found.item)), found

    def texts(self, annotator: str, item: int) -> list[str]:
        """What an item's completions say, in the order in which the annotator was shown them.

        Of a completion of several turns it is the last one, which is what a rewrite replaces.

        Raises:
            DataError: the item was never lent to this annotator.
        """
        with self.store.reading() as session:
            assignment = self._assigned(session, annotator, item)
            row = existing(session.get(ItemRow, item), "item", item)
            shown = [as_completion(one, source=False) for one in _shown(session, row, assignment)]
            return [one.text if one.turns is None else one.turns[-1].content for one in shown]

    def judged_by(self, annotator: str) -> int:
        """How many items of the project the annotator has judged."""
        with self.store.reading() as session:
            return int(session.scalar(queries.JUDGED, {"annotator": annotator, "project": self.project}) or 0)

    def left_for(self, annotator: str) -> int:
        """How many items the annotator may still be given at most: those that are asked, and all gold ones."""
        with self.store.reading() as session:
            return int(session.scalar(queries.LEFT, {"annotator": annotator, "project": self.project}) or 0)

    def progress(self) -> dict[str, int]:
        """Items by state, judgements that count, and surplus ones; without what is gold."""
        with self.store.reading() as session:
            states = session.execute(
                select(ItemRow.state, func.count())
                .where(ItemRow.project == self.project, ItemRow.gold.is_(None))
                .group_by(ItemRow.state)
            ).all()
            surplus = session.execute(
                standing(JudgementRow.surplus, func.count())
                .join(ItemRow, ItemRow.key == JudgementRow.item)
                .where(ItemRow.project == self.project, ItemRow.gold.is_(None))
                .group_by(JudgementRow.surplus)
            ).all()
            counts = {bool(late): n for late, n in surplus}
            return {
                **dict.fromkeys(("open", "done", "disputed", "closed"), 0),
                **{str(row[0]): int(row[1]) for row in states},
                "judgements": counts.get(False, 0),
                "surplus": counts.get(True, 0),
            }

    def _lent(self, session: Session, annotator: str, item: int) -> AssignmentRow | None:
        which = {"annotator": annotator, "project": self.project, "item": item}
        return session.scalars(queries.ASSIGNED, which).first()

    def _assigned(self, session: Session, annotator: str, item: int) -> AssignmentRow:
        return _given(self._lent(session, annotator, item), annotator, item)

    def _locked(self, session: Session, item: int, *, wait: bool = True) -> ItemRow | None:
        """The item, about which nobody else decides until this transaction is over."""
        locked = queries.LOCKED if wait else queries.LOCKED_IF_FREE
        return session.scalars(locked, {"item": item, "project": self.project}).first()

    def _candidates(
        self, session: Session, project: ProjectRow, annotator: str, now: float
    ) -> Iterator[ItemRow | None]:
        """Items that the annotator might be given, each locked; `None` where others decide about one."""
        for key in self._gold(session, project, annotator):
            yield self._locked(session, key, wait=False)
        whose = {"annotator": annotator, "project": self.project, "now": now}
        for _ in range(queries.TRIED):
            if (item := session.scalars(queries.WANTED, whose).first()) is None:
                break
            yield item
        if session.scalar(queries.ANY_WANTED, whose):
            yield None

    def _gold(self, session: Session, project: ProjectRow, annotator: str) -> list[int]:
        """Gold items that the annotator never saw, drawn by lot; none if this question is to be no test."""
        rate, whose = setup_of(project.settings).gold_rate, {"annotator": annotator, "project": self.project}
        if not rate:
            return []
        given = session.scalar(queries.GIVEN, whose)
        chance = random.Random(digest([project.salt, annotator, given]))
        if chance.random() >= rate:
            return []
        found = list(session.scalars(queries.GOLD, whose))
        chance.shuffle(found)
        return found[: queries.TRIED]

    def _free(self, session: Session, item: ItemRow, now: float) -> int:
        """Places of a locked item that neither a judgement nor a lease has: counted after the lock was had."""
        if item.state == "gold":
            return ENDLESS
        return item.target_votes - int(session.scalar(queries.TAKEN, {"item": item.key, "now": now}) or 0)

    def _corrected(self, session: Session, said: NewJudgement) -> JudgementRow:
        found = session.scalars(queries.JUDGEMENT, {"judgement": said.corrects}).first()
        if found is None or (found.item, found.annotator) != (said.item, said.annotator):
            raise DataError(f"judgement '{said.corrects}' is none that '{said.annotator}' made of this item.")
        if session.scalar(queries.CORRECTED, {"judgement": said.corrects}):
            raise DataError(f"judgement '{said.corrects}' was corrected already; correct the newer one.")
        return found


def _given(found: AssignmentRow | None, annotator: str, item: int) -> AssignmentRow:
    if found is None:
        raise DataError(f"item {item} was never given to annotator '{annotator}'.")
    return found


def _task(session: Session, project: ProjectRow, item: ItemRow, assignment: AssignmentRow) -> AnnotationTask:
    rows = _shown(session, item, assignment)
    return AnnotationTask(
        item.key,
        project.id,
        project.task,
        as_prompt(rows[0].PromptRow),
        tuple(as_completion(row, source=False) for row in rows),
        assignment.until,
        assignment.draft,
    )


def _shown(session: Session, item: ItemRow, assignment: AssignmentRow) -> list[Any]:
    """An item's completions in the order in which its annotator sees them; see `queries.COMPLETIONS`."""
    found = session.execute(queries.COMPLETIONS, {"completions": item.completions})
    rows = {row.key: row for row in found}
    return [rows[item.completions[place]] for place in assignment.shown]


def _order(count: int, annotator: str, item: int) -> list[int]:
    """An order of the completions that depends on who sees them, and can be had again."""
    places = list(range(count))
    random.Random(digest([annotator, item])).shuffle(places)
    return places
