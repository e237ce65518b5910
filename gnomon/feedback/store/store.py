"""The feedback store: one database of prompts, completions, items and judgements; SQLite or PostgreSQL by URL.

Every write is one transaction. On SQLite it starts with the write lock, so that nothing it reads can change
meanwhile; on PostgreSQL the queue locks each item that it changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.exc import DataError as BadValue, OperationalError
from sqlalchemy.orm import Session

from gnomon.core.boundary import first_line
from gnomon.core.errors import BusyError, DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.messages import stored_message
from gnomon.data.reading.tools import template_kwargs_of, tools_of
from gnomon.feedback.requirements import NO_REQUIREMENT, Profile, Requirement
from gnomon.feedback.store.database import BUSY, as_url, open_database
from gnomon.feedback.store.resolution import resolve_item
from gnomon.feedback.store.schema import (
    AnnotatorRow,
    DecisionRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
    RequirementRow,
)
from gnomon.feedback.task_types import limits_of, setup_of

AUTHORED_ROWS = ((JudgementRow, JudgementRow.annotator), (DecisionRow, DecisionRow.reviewer))
BUSY_MESSAGE = (
    "the feedback store is busy: another program is writing to it; wait until it has finished, and try again."
)


@dataclass(frozen=True)
class Project:
    """A project's question, task and settings; see `ProjectRow`."""

    id: str
    title: str
    task: str
    votes_per_item: int = 3
    max_votes: int = 5
    guidelines: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BankPrompt:
    """A prompt of the prompt bank with its category, tags, value and requirement; see `PromptRow`."""

    prompt: Prompt
    category: str = ""
    tags: tuple[str, ...] = ()
    value: float = 0.5
    edge: bool = False
    requirement: Requirement = NO_REQUIREMENT


class Store:
    """A database of feedback.

    Args:
        url: `sqlite:///feedback.db`, a path of a SQLite file, or `postgresql://user@host/name`.

    Raises:
        ConfigError: the database cannot be opened, or a newer Gnomon made it.
    """

    def __init__(self, url: str | Path):
        self.url = as_url(url)
        self.engine = open_database(self.url)
        sqlite = self.engine.dialect.name == "sqlite"
        # SQLite allows one writer at a time, and others poll: threads of this process wait for a lock instead.
        self._writer_lock = threading.Lock() if sqlite else None
        # On PostgreSQL autocommit saves the BEGIN and COMMIT of transactions that only read.
        self._reader = self.engine if sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session for reading."""
        with Session(self._reader) as session:
            yield session
            session.expunge_all()  # rows are readable after the session

    @contextmanager
    def writing(self, within: Session | None = None) -> Iterator[Session]:
        """Open a session with one transaction, which is committed at the end or rolled back on an error.

        Args:
            within: session of a running transaction to join instead.

        Raises:
            BusyError: another program has held the write lock for longer than `BUSY` seconds.
            DataError: the database cannot store a value.
        """
        if within is not None:
            yield within
            return
        try:
            with self._exclusive(), Session(self.engine) as session, session.begin():
                if self.engine.dialect.name == "sqlite":
                    session.connection().exec_driver_sql("BEGIN IMMEDIATE")
                yield session
        except OperationalError as error:
            if "database is locked" not in str(error.orig):
                raise
            raise BusyError(BUSY_MESSAGE) from None
        except BadValue as error:
            problem = first_line(error.orig or error)
            raise DataError(
                f"the feedback store cannot store a value ({problem}); nothing was written, correct the value."
            ) from None

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the lock of this process's writers, if there is one."""
        if self._writer_lock is None:
            yield
            return
        if not self._writer_lock.acquire(timeout=BUSY):
            raise BusyError(BUSY_MESSAGE)
        try:
            yield
        finally:
            self._writer_lock.release()

    def close(self) -> None:
        """Close all connections to the database."""
        self.engine.dispose()

    def add_project(self, project: Project, *, within: Session | None = None) -> None:
        """Add a project.

        Args:
            project: the project, with an id of its own.
            within: session of a running transaction to join.

        Raises:
            DataError: a project with that id exists.
        """
        with self.writing(within) as session:
            if session.get(ProjectRow, project.id):
                raise DataError(f"there is a project '{project.id}' already; use another id.")
            session.add(
                ProjectRow(
                    id=project.id,
                    title=project.title,
                    guidelines=project.guidelines,
                    task=project.task,
                    votes_per_item=project.votes_per_item,
                    max_votes=project.max_votes,
                    settings=project.settings,
                    created=time.time(),
                )
            )
            session.flush()

    def project(self, project: str) -> Project:
        """Return the project with an id.

        Raises:
            DataError: there is no such project.
        """
        with self.reading() as session:
            row = require(session.get(ProjectRow, project), "project", project)
            return Project(
                row.id, row.title, row.task, row.votes_per_item, row.max_votes, row.guidelines, row.settings
            )

    def update_project(self, project: Project) -> None:
        """Change a project's title, guidelines, numbers of votes and settings.

        Items that needed the former `votes_per_item` need the new number. Open and disputed items are resolved
        with the new values; done ones too if answers need approval from now on, or no longer.

        Raises:
            ConfigError: a setting is unknown or invalid.
            DataError: there is no such project, the numbers of votes are invalid, or the criteria change although
                there are judgements or gold items.
        """
        setup = setup_of(project.settings)
        limits_of(setup)
        if not 1 <= project.votes_per_item <= project.max_votes:
            raise DataError(
                f"votes_per_item is {project.votes_per_item} and max_votes {project.max_votes}; "
                "make the first at least 1, and the second no smaller than the first."
            )
        with self.writing() as session:
            statement = select(ProjectRow).where(ProjectRow.id == project.id).with_for_update()
            row = require(session.scalars(statement).first(), "project", project.id)
            before = setup_of(row.settings)
            judged = select(JudgementRow.item).join(ItemRow, ItemRow.key == JudgementRow.item)
            gold = select(ItemRow.key).where(ItemRow.gold.is_not(None))
            if before.criteria_of(row.task) != setup.criteria_of(row.task) and any(
                session.scalar(select(rows.where(ItemRow.project == row.id).exists())) for rows in (judged, gold)
            ):
                raise DataError(
                    "the criteria cannot change once there are judgements or gold items; create a new project."
                )
            votes_per_item, max_votes = row.votes_per_item, row.max_votes
            row.title, row.guidelines = project.title, project.guidelines
            row.votes_per_item, row.max_votes, row.settings = (
                project.votes_per_item,
                project.max_votes,
                project.settings,
            )
            if (votes_per_item, max_votes, before.consensus_threshold, before.approval) == (
                row.votes_per_item,
                row.max_votes,
                setup.consensus_threshold,
                setup.approval,
            ):
                return
            states = ("open", "disputed", "done") if before.approval != setup.approval else ("open", "disputed")
            pending = select(ItemRow).where(ItemRow.project == row.id, ItemRow.state.in_(states))
            for item in session.scalars(pending.order_by(ItemRow.key).with_for_update()).all():
                item.target_votes = (
                    row.votes_per_item if item.target_votes == votes_per_item else item.target_votes
                )
                resolve_item(session, item, row)

    def projects(self) -> list[str]:
        """Return the ids of all projects, oldest first."""
        with self.reading() as session:
            return list(session.scalars(select(ProjectRow.id).order_by(ProjectRow.created)))

    def add_annotator(self, name: str, *, kind: str = "person", id: str | None = None) -> str:
        """Add an annotator unless one with the id exists.

        Args:
            name: displayed name.
            kind: `person`, `judge`, `rule`, `simulated` or `anonymous`.
            id: by default a digest of name and kind.

        Returns:
            The annotator's id.
        """
        annotator = id or digest({"name": name, "kind": kind})[:16]
        with self.writing() as session:
            if not session.get(AnnotatorRow, annotator):
                session.add(AnnotatorRow(id=annotator, name=name, kind=kind, created=time.time()))
        return annotator

    def set_profile(self, annotator: str, profile: Profile) -> None:
        """Set the languages, domains and skills of a person.

        Raises:
            DataError: there is no such annotator, or it is not a person.
        """
        with self.writing() as session:
            row = require(session.get(AnnotatorRow, annotator), "annotator", annotator)
            if row.kind != "person":
                raise DataError(f"annotator '{annotator}' is a {row.kind}, which gets all items; name a person.")
            row.profile = profile.row()

    def set_annotator(self, annotator: str, state: str) -> None:
        """Set an annotator's state: `active`, `paused`, or `withdrawn`.

        Judgements and decisions of a withdrawn annotator do not count, and their items are resolved without them.

        Raises:
            DataError: there is no such annotator.
        """
        with self.writing() as session:
            row = require(session.get(AnnotatorRow, annotator), "annotator", annotator)
            if row.state == state:
                return
            counts_unchanged = "withdrawn" not in (row.state, state)
            row.state, row.below = state, None
            row.resumed = time.time() if state == "active" else row.resumed
            session.flush()
            if counts_unchanged:
                return
            authored = [select(table.item).where(author == annotator) for table, author in AUTHORED_ROWS]
            touched = select(ItemRow).where(or_(*(ItemRow.key.in_(items) for items in authored)))
            for item in session.scalars(touched.order_by(ItemRow.key).with_for_update()).all():
                resolve_item(
                    session, item, require(session.get(ProjectRow, item.project), "project", item.project)
                )

    def prompts(self, project: str) -> list[Prompt]:
        """Return all prompts of a project's prompt bank, in the order in which they were added."""
        with self.reading() as session:
            rows = session.scalars(
                select(PromptRow).where(PromptRow.project == project).order_by(PromptRow.key)
            ).all()
            return [as_prompt(row) for row in rows]

    def bank(self, project: str) -> list[BankPrompt]:
        """Return a project's prompt bank, in the order in which the prompts were added."""
        with self.reading() as session:
            require(session.get(ProjectRow, project), "project", project)
            rows = session.execute(
                select(PromptRow, RequirementRow)
                .outerjoin(
                    RequirementRow,
                    and_(
                        RequirementRow.project == PromptRow.project, RequirementRow.key == PromptRow.requirement
                    ),
                )
                .where(PromptRow.project == project)
                .order_by(PromptRow.key)
            ).all()
            return [
                BankPrompt(
                    as_prompt(row), row.category, tuple(row.tags), row.value, row.edge, as_requirement(needed)
                )
                for row, needed in rows
            ]

    def item_counts(self, project: str) -> dict[str, int]:
        """Return the number of items by prompt id, for prompts that have items."""
        statement = (
            select(PromptRow.id, func.count())
            .join(ItemRow, ItemRow.prompt == PromptRow.key)
            .where(PromptRow.project == project)
            .group_by(PromptRow.id)
        )
        with self.reading() as session:
            return {str(name): int(count) for name, count in session.execute(statement).all()}


def as_prompt(row: Any) -> Prompt:
    """Convert a `PromptRow` to a `Prompt`."""
    context = row.context or {}
    return Prompt(
        row.id,
        tuple(map(stored_message, row.messages)),
        row.answer,
        tools=tools_of(context.get("tools")),
        chat_template_kwargs=template_kwargs_of(context.get("chat_template_kwargs")),
    )


def as_requirement(row: RequirementRow | None) -> Requirement:
    """Convert a `RequirementRow` to a `Requirement`."""
    return NO_REQUIREMENT if row is None else Requirement(row.language, row.domain, tuple(row.skills))


def as_completion(row: Any, *, source: bool = True) -> Completion:
    """Convert a completion's row to a `Completion`, with all its turns.

    Args:
        row: row with `id`, `text`, `turns` and, if `source` is set, `source`.
        source: whether to include the source; annotators do not see it.
    """
    turns = None if row.turns is None else tuple(map(stored_message, row.turns))
    return Completion(row.id, row.text, row.source if source else "", None, turns)


def require(row: Any, kind: str, name: object) -> Any:
    """Return the row of a look-up; raise an error if there is none.

    Args:
        row: result of the look-up.
        kind: what it is, for the error: `project`, `item`, …
        name: its id, for the error.

    Raises:
        DataError: the row is None.
    """
    if row is None:
        raise DataError(f"the store has no {kind} {name!r}; check the name.")
    return row
