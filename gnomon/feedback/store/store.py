"""The feedback store: one database of prompts, completions, items and judgements; SQLite or PostgreSQL by URL.

Every write is one transaction. On SQLite it begins with the write lock, so that what it reads cannot change below
it; on PostgreSQL the queue locks the item that it decides about.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.exc import DataError as BadValue
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from gnomon.core.boundary import first_line
from gnomon.core.errors import BusyError, DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.messages import stored_message
from gnomon.feedback.store.database import BUSY, as_url, open_database
from gnomon.feedback.store.resolution import settle
from gnomon.feedback.store.schema import (
    AnnotatorRow,
    DecisionRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
)
from gnomon.feedback.task_types import limits_of, setup_of

THEIRS = ((JudgementRow, JudgementRow.annotator), (DecisionRow, DecisionRow.reviewer))
BUSY_SAID = "the feedback store is busy: another program is writing to it; wait until it is done, and try again."


@dataclass(frozen=True)
class Project:
    """What annotators are asked, and how often; see `ProjectRow`."""

    id: str
    title: str
    task: str
    votes_per_item: int = 3
    max_votes: int = 5
    guidelines: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BankPrompt:
    """A prompt with what the bank knows of it; see `PromptRow`."""

    prompt: Prompt
    category: str = ""
    tags: tuple[str, ...] = ()
    value: float = 0.5
    edge: bool = False


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
        # SQLite has one writer at a time, and makes others sleep and ask again: ours wait in line.
        self._line = threading.Lock() if sqlite else None
        # PostgreSQL is spared the beginning and the end of a transaction that writes nothing.
        self._reader = self.engine if sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that writes nothing."""
        with Session(self._reader) as session:
            yield session
            session.expunge_all()  # rows stay readable after the session

    @contextmanager
    def writing(self, within: Session | None = None) -> Iterator[Session]:
        """One transaction: all of it, or nothing; or a part of the one that is `within`.

        Raises:
            BusyError: another program has been writing for longer than one waits.
            DataError: the database cannot hold a value.
        """
        if within is not None:
            yield within
            return
        try:
            with self._alone(), Session(self.engine) as session, session.begin():
                if self.engine.dialect.name == "sqlite":
                    session.connection().exec_driver_sql("BEGIN IMMEDIATE")
                yield session
        except OperationalError as error:
            if "database is locked" not in str(error.orig):
                raise
            raise BusyError(BUSY_SAID) from None
        except BadValue as error:
            problem = first_line(error.orig or error)
            raise DataError(f"the feedback store cannot hold a value ({problem}); nothing was written.") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._line is None:
            yield
            return
        if not self._line.acquire(timeout=BUSY):
            raise BusyError(BUSY_SAID)
        try:
            yield
        finally:
            self._line.release()

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def add_project(self, project: Project, *, within: Session | None = None) -> None:
        """A new project.

        Raises:
            DataError: there is one of that id.
        """
        with self.writing(within) as session:
            if session.get(ProjectRow, project.id):
                raise DataError(f"there is a project '{project.id}' already; give another id.")
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
        """A project by its id."""
        with self.reading() as session:
            row = existing(session.get(ProjectRow, project), "project", project)
            return Project(
                row.id, row.title, row.task, row.votes_per_item, row.max_votes, row.guidelines, row.settings
            )

    def set_up(self, project: Project) -> None:
        """Change how a project asks; items that nobody raised want as many judgements as it does.

        What is open or disputed is settled by it.

        Raises:
            ConfigError: a setting is unknown or cannot be.
            DataError: there is no such project, the numbers of judgements cannot be, or what was judged already
                would mean something else.
        """
        setup = setup_of(project.settings)
        limits_of(setup)
        if not 1 <= project.votes_per_item <= project.max_votes:
            raise DataError(
                f"each item needs {project.votes_per_item} judgements and allows {project.max_votes} at most; "
                "make the first at least 1, and the second no smaller than the first."
            )
        with self.writing() as session:
            wanted = select(ProjectRow).where(ProjectRow.id == project.id).with_for_update()
            row = existing(session.scalars(wanted).first(), "project", project.id)
            before = setup_of(row.settings)
            judged = select(JudgementRow.item).join(ItemRow, ItemRow.key == JudgementRow.item)
            known = select(ItemRow.key).where(ItemRow.gold.is_not(None))
            if before.asked_of(row.task) != setup.asked_of(row.task) and any(
                session.scalar(select(said.where(ItemRow.project == row.id).exists())) for said in (judged, known)
            ):
                raise DataError(
                    "the criteria cannot change once something was judged or is known (gold); make a new project."
                )
            votes_per_item, max_votes = row.votes_per_item, row.max_votes
            row.title, row.guidelines = project.title, project.guidelines
            row.votes_per_item, row.max_votes, row.settings = (
                project.votes_per_item,
                project.max_votes,
                project.settings,
            )
            if (votes_per_item, max_votes, before.consensus_threshold) == (
                row.votes_per_item,
                row.max_votes,
                setup.consensus_threshold,
            ):
                return
            theirs = select(ItemRow).where(ItemRow.project == row.id, ItemRow.state.in_(("open", "disputed")))
            for item in session.scalars(theirs.order_by(ItemRow.key).with_for_update()).all():
                item.target_votes = (
                    row.votes_per_item if item.target_votes == votes_per_item else item.target_votes
                )
                settle(session, item, row)

    def projects(self) -> list[str]:
        """The ids of all projects, oldest first."""
        with self.reading() as session:
            return list(session.scalars(select(ProjectRow.id).order_by(ProjectRow.created)))

    def add_annotator(self, name: str, *, kind: str = "person", id: str | None = None) -> str:
        """A new annotator, or one that is known by that id; returns the id."""
        found = id or digest({"name": name, "kind": kind})[:16]
        with self.writing() as session:
            if not session.get(AnnotatorRow, found):
                session.add(AnnotatorRow(id=found, name=name, kind=kind, created=time.time()))
        return found

    def set_annotator(self, annotator: str, state: str) -> None:
        """Let an annotator work, pause them, or no longer count what they said and decided (`withdrawn`).

        Items that are done look for another voice in the place of one that counts no more.
        """
        with self.writing() as session:
            found = existing(session.get(AnnotatorRow, annotator), "annotator", annotator)
            if found.state == state:
                return
            counted = "withdrawn" not in (found.state, state)
            found.state, found.below = state, None
            found.resumed = time.time() if state == "active" else found.resumed
            session.flush()
            if counted:
                return
            theirs = [select(kind.item).where(who == annotator) for kind, who in THEIRS]
            touched = select(ItemRow).where(or_(*(ItemRow.key.in_(items) for items in theirs)))
            for item in session.scalars(touched.order_by(ItemRow.key).with_for_update()).all():
                settle(session, item, existing(session.get(ProjectRow, item.project), "project", item.project))

    def prompts(self, project: str) -> list[Prompt]:
        """All prompts of a project's bank, in the order in which they came."""
        with self.reading() as session:
            rows = session.scalars(
                select(PromptRow).where(PromptRow.project == project).order_by(PromptRow.key)
            ).all()
            return [as_prompt(row) for row in rows]

    def bank(self, project: str) -> list[BankPrompt]:
        """All prompts of a project with what the bank knows of them, in the order in which they came."""
        with self.reading() as session:
            existing(session.get(ProjectRow, project), "project", project)
            rows = session.scalars(
                select(PromptRow).where(PromptRow.project == project).order_by(PromptRow.key)
            ).all()
            return [
                BankPrompt(as_prompt(row), row.category, tuple(row.tags), row.value, row.edge) for row in rows
            ]

    def times_asked(self, project: str) -> dict[str, int]:
        """How many items there are of each prompt that has any, by its id."""
        wanted = (
            select(PromptRow.id, func.count())
            .join(ItemRow, ItemRow.prompt == PromptRow.key)
            .where(PromptRow.project == project)
            .group_by(PromptRow.id)
        )
        with self.reading() as session:
            return {str(name): int(count) for name, count in session.execute(wanted).all()}


def as_prompt(row: Any) -> Prompt:
    """A row of the bank as the rest of Gnomon knows it."""
    return Prompt(row.id, tuple(map(stored_message, row.messages)), row.answer)


def as_completion(row: Any, *, source: bool = True) -> Completion:
    """A completion's row, with all its turns.

    Args:
        row: with `id`, `text`, `turns` and, where it is wanted, `source`.
        source: whether to name it; annotators do not see it.
    """
    turns = None if row.turns is None else tuple(map(stored_message, row.turns))
    return Completion(row.id, row.text, row.source if source else "", None, turns)


def existing(found: Any, what: str, name: object) -> Any:
    """What was looked for, or a sentence that there is none of that name."""
    if found is None:
        raise DataError(f"the store has no {what} {name!r}.")
    return found
