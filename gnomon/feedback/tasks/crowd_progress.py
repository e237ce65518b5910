"""Work of a crowd platform's worker for one link: how much they judged, and the completion code at the end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from gnomon.feedback.crowd_platforms import CrowdLink
from gnomon.feedback.store.schema import (
    AssignmentRow,
    CrowdLinkRow,
    CrowdVisitRow,
    CrowdWorkerRow,
    ItemRow,
    JudgementRow,
    superseded,
)
from gnomon.feedback.store.store import Store, require

JUDGED = (
    select(func.count())
    .select_from(JudgementRow)
    .where(JudgementRow.invite == CrowdVisitRow.invite, ~superseded())
    .scalar_subquery()
)
SKIPPED = (
    select(func.count())
    .select_from(AssignmentRow)
    .join(ItemRow, ItemRow.key == AssignmentRow.item)
    .where(
        AssignmentRow.annotator == CrowdVisitRow.annotator,
        AssignmentRow.state == "skipped",
        AssignmentRow.created >= CrowdVisitRow.created,
        ItemRow.project == CrowdLinkRow.project,
    )
    .scalar_subquery()
)
VISIT = (
    select(
        CrowdVisitRow,
        CrowdLinkRow.settings,
        CrowdWorkerRow.worker,
        JUDGED.label("judged"),
        SKIPPED.label("skipped"),
    )
    .join(CrowdLinkRow, CrowdLinkRow.key == CrowdVisitRow.link)
    .join(CrowdWorkerRow, CrowdWorkerRow.annotator == CrowdVisitRow.annotator)
    .where(CrowdVisitRow.invite == bindparam("invite"))
)
IS_STORED = select(select(JudgementRow.id).where(JudgementRow.id == bindparam("judgement")).exists())


@dataclass(frozen=True)
class CrowdFinish:
    """What a worker gets at the end: the completion code, and the platform's address to return to, if any."""

    code: str
    address: str | None


@dataclass(frozen=True)
class CrowdVisit:
    """A worker's visit.

    Attributes:
        link: settings of the link.
        judged: number of items judged through the link.
        skipped: number of items skipped since the first visit.
        finish: completion code and address, once the worker has finished.
    """

    link: CrowdLink
    judged: int
    skipped: int
    finish: CrowdFinish | None

    @property
    def is_at_limit(self) -> bool:
        """Whether the worker has judged as many items as the link allows."""
        return self.link.max_judgements is not None and self.judged >= self.link.max_judgements


class CrowdProgress:
    """Progress of crowd platforms' workers.

    Args:
        store: the feedback store.
        clock: returns the time, in seconds since 1970.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time):
        self.store = store
        self.clock = clock

    def visit(self, invite: str) -> CrowdVisit:
        """Return the visit of a session; a worker at the limit finishes.

        Args:
            invite: digest of the token of the session's link.
        """
        with self.store.reading() as session:
            visit = _visit(session, invite)
        if visit.finish is not None or not visit.is_at_limit:
            return visit
        return self.finish(invite)

    def finish(self, invite: str) -> CrowdVisit:
        """Finish a visit with enough judgements, and return it with the completion code.

        A visit below the limit stays unfinished if it has fewer judgements than the link's `min_judgements`, or
        fewer than skipped items: skipping everything is no work. Finishing twice gives the same code.
        """
        with self.store.writing() as session:
            statement = select(CrowdVisitRow).where(CrowdVisitRow.invite == invite).with_for_update()
            row = require(session.scalars(statement).first(), "visit", invite)
            visit = _visit(session, invite)
            is_enough = visit.judged >= max(visit.link.min_judgements, visit.skipped)
            if visit.finish is not None or not (visit.is_at_limit or is_enough):
                return visit
            row.code = visit.link.code or secrets.token_hex(5).upper()
            row.finished = self.clock()
            session.flush()
            return _visit(session, invite)

    def accepts(self, invite: str, judgement: str) -> bool:
        """Return whether a worker may submit a judgement: below the link's limit, or repeating a stored one.

        Args:
            invite: digest of the token of the session's link.
            judgement: id of the judgement.
        """
        with self.store.reading() as session:
            visit = _visit(session, invite)
            return not visit.is_at_limit or bool(session.scalar(IS_STORED, {"judgement": judgement}))


def _visit(session: Session, invite: str) -> CrowdVisit:
    """Read a visit with its number of judgements."""
    columns = require(session.execute(VISIT, {"invite": invite}).first(), "visit", invite)
    row, settings, worker, judged, skipped = columns
    link = CrowdLink.model_validate(settings)
    code = row.code
    finish = None if code is None else CrowdFinish(code, link.finish_address(code, worker, row.details))
    return CrowdVisit(link, int(judged), int(skipped), finish)
