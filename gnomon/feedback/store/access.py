"""Access control: personal links, and browser sessions opened with one.

There are no passwords. A link has a token of 256 random bits, which is displayed once. The store has only digests
of tokens and of session cookies, so that a stolen database gives no access.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.feedback.store.schema import AnnotatorRow, CrowdVisitRow, InviteRow, ProjectRow, SessionRow
from gnomon.feedback.store.store import Store, require

Role = Literal["admin", "reviewer", "annotator"]
SESSION_SECONDS = 30 * 24 * 3600.0  # lifetime of a session

CURRENT_USER = (  # built once, since every request executes it
    select(
        AnnotatorRow.id,
        AnnotatorRow.name,
        InviteRow.role,
        InviteRow.project,
        AnnotatorRow.state,
        InviteRow.token,
        CrowdVisitRow.link,
    )
    .select_from(InviteRow)
    .join(SessionRow, SessionRow.invite == InviteRow.token)
    .join(AnnotatorRow, AnnotatorRow.id == InviteRow.annotator)
    .outerjoin(CrowdVisitRow, CrowdVisitRow.invite == InviteRow.token)
    .where(SessionRow.token == bindparam("cookie"), SessionRow.until > bindparam("now"), ~InviteRow.revoked)
)


@dataclass(frozen=True)
class User:
    """The annotator of a session, with their role in a project and their state, such as `paused`.

    Attributes:
        invite: digest of the token of the link that opened the session.
        crowd_link: key of the crowd platform's link through which they came; `None` with a personal link.
    """

    annotator: str
    name: str
    role: Role
    project: str
    state: str = "active"
    invite: str | None = None
    crowd_link: int | None = None


class Access:
    """Personal links and sessions of one store.

    Args:
        store: the feedback store.
        clock: returns the time, in seconds since 1970.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time):
        self.store = store
        self.clock = clock

    def invite(self, project: str, name: str, role: Role = "annotator") -> str:
        """Add an annotator with a personal link.

        Args:
            project: id of the project.
            name: the annotator's name.
            role: rights of the link's owner.

        Returns:
            The token of the link, which cannot be recovered later.
        """
        return self._link(project, secrets.token_hex(8), role, name)

    def invite_again(self, project: str, annotator: str) -> str:
        """Create a new link for an annotator, with the role of their last one, and revoke the earlier ones.

        Returns:
            The token of the link.

        Raises:
            DataError: no annotator of that id was invited to the project, or they are withdrawn.
        """
        last = (
            select(InviteRow.role, AnnotatorRow.state)
            .join(AnnotatorRow, AnnotatorRow.id == InviteRow.annotator)
            .where(InviteRow.annotator == annotator, InviteRow.project == project)
            .order_by(InviteRow.created.desc())
        )
        with self.store.reading() as session:
            role, state = require(session.execute(last).first(), "invited annotator", annotator)
        if state == "withdrawn":
            raise DataError(f"annotator '{annotator}' is withdrawn; set them to active first.")
        self.revoke(annotator, project)
        return self._link(project, annotator, role)

    def _link(self, project: str, annotator: str, role: str, name: str | None = None) -> str:
        token = secrets.token_urlsafe(32)
        with self.store.writing() as session:
            require(session.get(ProjectRow, project), "project", project)
            now = self.clock()
            if name is not None:
                session.add(AnnotatorRow(id=annotator, name=name, kind="person", created=now))
                session.flush()
            session.add(
                InviteRow(token=token_digest(token), project=project, annotator=annotator, role=role, created=now)
            )
        return token

    def has_admin(self, project: str) -> bool:
        """Whether the project has a valid administrator's link."""
        admin_links = select(InviteRow).where(
            InviteRow.project == project, InviteRow.role == "admin", ~InviteRow.revoked
        )
        with self.store.reading() as session:
            return session.scalars(admin_links).first() is not None

    def login(self, token: str) -> str | None:
        """Open a session with a link's token; return its cookie, or `None` if the token is invalid or revoked."""
        with self.store.writing() as session:
            invite = session.get(InviteRow, token_digest(token))
            if invite is None or invite.revoked:
                return None
            return self.open_session(session, invite.token)

    def open_session(self, session: Session, invite: str) -> str:
        """Add a browser session of a personal link, whose `token` is given, and return its cookie."""
        cookie = secrets.token_urlsafe(32)
        session.execute(delete(SessionRow).where(SessionRow.until < self.clock()))
        session.add(SessionRow(token=token_digest(cookie), invite=invite, until=self.clock() + SESSION_SECONDS))
        return cookie

    def is_valid(self, token: str) -> bool:
        """Whether a link's token is valid; opens no session."""
        with self.store.reading() as session:
            invite = session.get(InviteRow, token_digest(token))
            return invite is not None and not invite.revoked

    def current_user(self, cookie: str | None) -> User | None:
        """Return the user of a session; `None` if the cookie is unknown or expired, or its link was revoked."""
        if not cookie:
            return None
        with self.store.reading() as session:
            row = session.execute(CURRENT_USER, {"cookie": token_digest(cookie), "now": self.clock()}).first()
            if row is None:
                return None
            return User(row.id, row.name, cast(Role, row.role), row.project, row.state, row.token, row.link)

    def revoke(self, annotator: str, project: str | None = None) -> None:
        """Revoke an annotator's links, all or those to one project, and end the sessions opened with them."""
        links = select(InviteRow).where(InviteRow.annotator == annotator)
        if project is not None:
            links = links.where(InviteRow.project == project)
        with self.store.writing() as session:
            for link in session.scalars(links):
                link.revoked = True
                session.execute(delete(SessionRow).where(SessionRow.invite == link.token))


def token_digest(token: str) -> str:
    """Return the digest under which the store keeps a token."""
    return hashlib.sha256(token.encode()).hexdigest()
