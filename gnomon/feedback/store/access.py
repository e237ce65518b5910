"""Who may come in: personal links, and the sessions of browsers that used one.

There are no passwords. A link holds 256 random bits and is shown once; the store keeps a digest of it, as of what
a session's cookie holds, so that a stolen database opens no door.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import bindparam, delete, select

from gnomon.core.errors import DataError
from gnomon.feedback.store.schema import AnnotatorRow, InviteRow, ProjectRow, SessionRow
from gnomon.feedback.store.store import Store, existing

Role = Literal["admin", "reviewer", "annotator"]
SESSION_SECONDS = 30 * 24 * 3600.0  # seconds of a session

CURRENT_USER = (  # made once: each request asks it
    select(AnnotatorRow.id, AnnotatorRow.name, InviteRow.role, InviteRow.project, AnnotatorRow.state)
    .select_from(InviteRow)
    .join(SessionRow, SessionRow.invite == InviteRow.token)
    .join(AnnotatorRow, AnnotatorRow.id == InviteRow.annotator)
    .where(SessionRow.token == bindparam("cookie"), SessionRow.until > bindparam("now"), ~InviteRow.revoked)
)


@dataclass(frozen=True)
class User:
    """Who a session belongs to, what they may do, and whether they are paused (`state`)."""

    annotator: str
    name: str
    role: Role
    project: str
    state: str = "active"


class Access:
    """Links and sessions of one store."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time):
        self.store = store
        self.clock = clock

    def invite(self, project: str, name: str, role: Role = "annotator") -> str:
        """A new annotator with a link of their own; returns its token, which nobody can be told again."""
        return self._link(project, secrets.token_hex(8), role, name)

    def invite_again(self, project: str, annotator: str) -> str:
        """A new link for a person who has had one, with the role of their last; the ones before end.

        Raises:
            DataError: nobody of that id was invited to the project, or they were withdrawn.
        """
        last = (
            select(InviteRow.role, AnnotatorRow.state)
            .join(AnnotatorRow, AnnotatorRow.id == InviteRow.annotator)
            .where(InviteRow.annotator == annotator, InviteRow.project == project)
            .order_by(InviteRow.created.desc())
        )
        with self.store.reading() as session:
            role, state = existing(session.execute(last).first(), "person with a link and the id", annotator)
        if state == "withdrawn":
            raise DataError(f"annotator '{annotator}' is withdrawn; let them go on first.")
        self.revoke(annotator, project)
        return self._link(project, annotator, role)

    def _link(self, project: str, annotator: str, role: str, name: str | None = None) -> str:
        token = secrets.token_urlsafe(32)
        with self.store.writing() as session:
            existing(session.get(ProjectRow, project), "project", project)
            now = self.clock()
            if name is not None:
                session.add(AnnotatorRow(id=annotator, name=name, kind="person", created=now))
                session.flush()
            session.add(
                InviteRow(token=_digest(token), project=project, annotator=annotator, role=role, created=now)
            )
        return token

    def has_admin(self, project: str) -> bool:
        """Whether anybody may administer the project."""
        wanted = select(InviteRow).where(
            InviteRow.project == project, InviteRow.role == "admin", ~InviteRow.revoked
        )
        with self.store.reading() as session:
            return session.scalars(wanted).first() is not None

    def login(self, token: str) -> str | None:
        """The cookie of a new session for the holder of a link; `None` for a link that is none."""
        cookie = secrets.token_urlsafe(32)
        with self.store.writing() as session:
            found = session.get(InviteRow, _digest(token))
            if found is None or found.revoked:
                return None
            session.execute(delete(SessionRow).where(SessionRow.until < self.clock()))
            session.add(
                SessionRow(token=_digest(cookie), invite=found.token, until=self.clock() + SESSION_SECONDS)
            )
        return cookie

    def is_valid(self, token: str) -> bool:
        """Whether a link would let its holder in; does not use it."""
        with self.store.reading() as session:
            found = session.get(InviteRow, _digest(token))
            return found is not None and not found.revoked

    def current_user(self, cookie: str | None) -> User | None:
        """Who a session's cookie belongs to; `None` where it is over, made up, or its link was revoked."""
        if not cookie:
            return None
        with self.store.reading() as session:
            row = session.execute(CURRENT_USER, {"cookie": _digest(cookie), "now": self.clock()}).first()
            if row is None:
                return None
            return User(row.id, row.name, cast(Role, row.role), row.project, row.state)

    def revoke(self, annotator: str, project: str | None = None) -> None:
        """End an annotator's links, all or those to one project, and the sessions that began with them."""
        theirs = select(InviteRow).where(InviteRow.annotator == annotator)
        with self.store.writing() as session:
            for link in session.scalars(
                theirs if project is None else theirs.where(InviteRow.project == project)
            ):
                link.revoked = True
                session.execute(delete(SessionRow).where(SessionRow.invite == link.token))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
