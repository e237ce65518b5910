"""Access for workers of crowd platforms: one link for all of them, which makes each an annotator.

Anybody who has the link can open it under any worker's id, as on every platform that puts ids into addresses. So
a worker's id never reaches an annotator that did not come through a link of the same platform: annotators get
random ids, and workers are looked up in a table of their own.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.feedback.crowd_platforms import CrowdLink, CrowdWorker
from gnomon.feedback.requirements import stored_profile
from gnomon.feedback.store.access import Access, token_digest
from gnomon.feedback.store.schema import (
    AnnotatorRow,
    CrowdLinkRow,
    CrowdVisitRow,
    CrowdWorkerRow,
    InviteRow,
    JudgementRow,
    ProjectRow,
    superseded,
)
from gnomon.feedback.store.store import require

CrowdRefusal = Literal["bad_link", "study_full"]


@dataclass(frozen=True)
class CrowdLinkStatus:
    """A crowd platform's link with its numbers of workers and of effective judgements."""

    key: int
    link: CrowdLink
    workers: int
    finished: int
    judgements: int
    revoked: bool


@dataclass(frozen=True)
class CrowdEntry:
    """Result of opening a link as a worker.

    Attributes:
        cookie: cookie of the worker's session; `None` if they were refused.
        refusal: the reason: the link has ended for this worker, or enough workers have joined.
        is_new: whether this was the worker's first visit.
    """

    cookie: str | None = None
    refusal: CrowdRefusal | None = None
    is_new: bool = False


class CrowdAccess:
    """Links of crowd platforms and the workers who open them.

    Args:
        access: personal links and sessions of the store.
    """

    def __init__(self, access: Access):
        self.access = access
        self.store = access.store

    def add_link(self, project: str, link: CrowdLink) -> tuple[int, str]:
        """Add a link to a project; return its key, and its token, which cannot be recovered later."""
        token = secrets.token_urlsafe(32)
        with self.store.writing() as session:
            require(session.get(ProjectRow, project), "project", project)
            row = CrowdLinkRow(
                token=token_digest(token),
                project=project,
                settings=link.model_dump(mode="json"),
                created=self.access.clock(),
            )
            session.add(row)
            session.flush()
            return row.key, token

    def end_link(self, project: str, key: int) -> None:
        """End a link: nobody can join or return with it, while workers with an open session can finish.

        Raises:
            DataError: the project has no such link.
        """
        with self.store.writing() as session:
            row = session.get(CrowdLinkRow, key)
            if row is None or row.project != project:
                raise DataError(f"project '{project}' has no crowd link {key}; see gnomon feedback status.")
            row.revoked = True

    def link(self, project: str, token: str) -> CrowdLink | None:
        """Return the link of a token; `None` if it is unknown, ended, or of another project."""
        statement = select(CrowdLinkRow).where(CrowdLinkRow.token == token_digest(token))
        with self.store.reading() as session:
            row = session.scalars(statement).first()
            is_valid = row is not None and not row.revoked and row.project == project
            return CrowdLink.model_validate(row.settings) if row is not None and is_valid else None

    def is_known(self, project: str, token: str, worker: CrowdWorker) -> bool:
        """Return whether a worker opened the link before.

        Args:
            project: id of the project that is served.
            token: the link's token.
            worker: the worker, in the platform's form.
        """
        with self.store.reading() as session:
            row = session.scalars(select(CrowdLinkRow).where(CrowdLinkRow.token == token_digest(token))).first()
            if row is None or row.project != project:
                return False
            return _visit(session, row, _worker(session, row, worker)) is not None

    def join(self, project: str, token: str, worker: CrowdWorker) -> CrowdEntry:
        """Open a session for a worker, who becomes an annotator at their first visit.

        Args:
            project: id of the project that is served.
            token: the link's token.
            worker: the worker, in the platform's form.
        """
        try:
            return self._join(project, token, worker)
        except IntegrityError:  # the worker opened another link of the platform at the same time
            return self._join(project, token, worker)

    def _join(self, project: str, token: str, worker: CrowdWorker) -> CrowdEntry:
        with self.store.writing() as session:
            statement = select(CrowdLinkRow).where(CrowdLinkRow.token == token_digest(token)).with_for_update()
            row = session.scalars(statement).first()
            if row is None or row.revoked or row.project != project:
                return CrowdEntry(refusal="bad_link")
            annotator = _worker(session, row, worker)
            visit = _visit(session, row, annotator)
            if annotator is not None and session.get_one(AnnotatorRow, annotator).state == "withdrawn":
                return CrowdEntry(refusal="bad_link")
            if visit is not None:
                if session.get_one(InviteRow, visit.invite).revoked:
                    return CrowdEntry(refusal="bad_link")
                visit.details = {**visit.details, **worker.details}
                return CrowdEntry(self.access.open_session(session, visit.invite))
            if _is_full(session, row):
                return CrowdEntry(refusal="study_full")
            invite = self._add_visit(session, row, annotator, worker)
            return CrowdEntry(self.access.open_session(session, invite), is_new=True)

    def _add_visit(self, session: Session, row: CrowdLinkRow, annotator: str | None, worker: CrowdWorker) -> str:
        """Add a visit, and the annotator of a worker without one; return the `token` of their personal link."""
        now, platform = self.access.clock(), row.settings["platform"]
        if annotator is None:
            annotator = secrets.token_hex(8)
            session.add(AnnotatorRow(id=annotator, name=f"{platform} {worker.id}", kind="person", created=now))
            session.flush()
            session.add(CrowdWorkerRow(annotator=annotator, platform=platform, worker=worker.id))
        known = session.get_one(AnnotatorRow, annotator)
        known.profile = (stored_profile(known.profile) | CrowdLink.model_validate(row.settings).profile).row()
        # Nobody knows this personal link's token: only the platform's link opens sessions with it.
        invite = token_digest(secrets.token_urlsafe(32))
        session.add(
            InviteRow(token=invite, project=row.project, annotator=annotator, role="annotator", created=now)
        )
        session.flush()
        session.add(
            CrowdVisitRow(
                invite=invite, link=row.key, annotator=annotator, details=dict(worker.details), created=now
            )
        )
        session.flush()
        return invite

    def status(self, project: str) -> list[CrowdLinkStatus]:
        """Return the project's links with their numbers of workers and judgements, oldest first."""
        judgements = (
            select(CrowdVisitRow.link, func.count().label("judgements"))
            .join(JudgementRow, JudgementRow.invite == CrowdVisitRow.invite)
            .where(~superseded())
            .group_by(CrowdVisitRow.link)
            .subquery()
        )
        workers = (
            select(
                CrowdVisitRow.link,
                func.count().label("workers"),
                func.count(CrowdVisitRow.finished).label("finished"),
            )
            .group_by(CrowdVisitRow.link)
            .subquery()
        )
        statement = (
            select(CrowdLinkRow, workers.c.workers, workers.c.finished, judgements.c.judgements)
            .outerjoin(workers, workers.c.link == CrowdLinkRow.key)
            .outerjoin(judgements, judgements.c.link == CrowdLinkRow.key)
            .where(CrowdLinkRow.project == project)
            .order_by(CrowdLinkRow.key)
        )
        with self.store.reading() as session:
            return [
                CrowdLinkStatus(
                    row.key,
                    CrowdLink.model_validate(row.settings),
                    worker_count or 0,
                    finished or 0,
                    judgement_count or 0,
                    row.revoked,
                )
                for row, worker_count, finished, judgement_count in session.execute(statement).all()
            ]


def _worker(session: Session, row: CrowdLinkRow, worker: CrowdWorker) -> str | None:
    """Return the id of the annotator who is a worker of the link's platform."""
    statement = select(CrowdWorkerRow.annotator).where(
        CrowdWorkerRow.platform == row.settings["platform"], CrowdWorkerRow.worker == worker.id
    )
    return session.scalar(statement)


def _visit(session: Session, row: CrowdLinkRow, annotator: str | None) -> CrowdVisitRow | None:
    """Return an annotator's visit of a link."""
    statement = select(CrowdVisitRow).where(CrowdVisitRow.link == row.key, CrowdVisitRow.annotator == annotator)
    return None if annotator is None else session.scalars(statement).first()


def _is_full(session: Session, row: CrowdLinkRow) -> bool:
    """Return whether as many workers have joined as the link allows."""
    max_workers = CrowdLink.model_validate(row.settings).max_workers
    if max_workers is None:
        return False
    joined = select(func.count()).select_from(CrowdVisitRow).where(CrowdVisitRow.link == row.key)
    return int(session.scalar(joined) or 0) >= max_workers
