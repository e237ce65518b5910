"""The tables of the feedback store.

Judgements and decisions are events: rows are added and what they say never changes; one that corrects another
names it.
Everything else may change, and says when it was made. Times are seconds since 1970; ids that people or programs
bring are texts.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    MetaData,
    UniqueConstraint,
    exists,
    func,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

NAMING = {  # so that migrations can name what they change, on every database
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """What all tables share."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON}  # noqa: RUF012 - SQLAlchemy's own way


class ProjectRow(Table):
    """What is asked of annotators, and how often.

    Attributes:
        task: `pair`, `ranking`, `rating` or `likert`.
        votes_per_item: judgements that each item gets; column `wanted`.
        max_votes: limit when judgements disagree; column `most`.
        settings: of the task and its quality control.
        salt: nobody outside knows it, so nobody can tell which questions are drawn to test them.
    """

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    guidelines: Mapped[str] = mapped_column(default="")
    task: Mapped[str]
    votes_per_item: Mapped[int] = mapped_column("wanted")
    max_votes: Mapped[int] = mapped_column("most")
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    salt: Mapped[str] = mapped_column(default=lambda: secrets.token_hex(16))
    created: Mapped[float]

    __table_args__ = (
        CheckConstraint("task IN ('pair', 'ranking', 'rating', 'likert')", name="task"),
        CheckConstraint("wanted >= 1 AND most >= wanted", name="votes"),
    )


class PromptRow(Table):
    """A prompt of the bank; `digest` is of what it says, so that none is there twice."""

    __tablename__ = "prompts"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    id: Mapped[str]
    messages: Mapped[list[Any]]
    answer: Mapped[str | None]
    digest: Mapped[str]
    category: Mapped[str] = mapped_column(default="")
    tags: Mapped[list[Any]] = mapped_column(default=list)
    value: Mapped[float] = mapped_column(default=0.5)
    edge: Mapped[bool] = mapped_column(default=False)
    created: Mapped[float]

    __table_args__ = (
        UniqueConstraint("project", "id"),
        UniqueConstraint("project", "digest", name="uq_prompts_digest"),
    )


class CompletionRow(Table):
    """An answer to a prompt, and where it comes from: a model with its settings and seed, a person, a file.

    Attributes:
        text: what the assistant said, a blank line between turns.
        digest: of the turns where there are any, else of the text.
        turns: of an answer of several turns all messages, those of the user and of tools among them; `None` of a
            text.
    """

    __tablename__ = "completions"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    prompt: Mapped[int] = mapped_column(ForeignKey("prompts.key"), index=True)
    id: Mapped[str]
    text: Mapped[str]
    turns: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    digest: Mapped[str]
    source: Mapped[str] = mapped_column(default="")
    made: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created: Mapped[float]

    __table_args__ = (
        UniqueConstraint("project", "id"),
        UniqueConstraint("prompt", "digest", name="uq_completions_digest"),
    )


class ItemRow(Table):
    """A question to annotators: completions of one prompt.

    Attributes:
        completions: keys of completions, in the store's order; each annotator sees an order of their own.
        target_votes: judgements before it is done; raised when they disagree; column `wanted`.
        vote_count: judgements that counted when it was last settled; only orders the queue; column `heard`.
        gold: the right answer, where it is known: what `check_answer` makes of it when the completions are shown
            in this row's order.
        state: `open`, `done`, `disputed` (waits for adjudication), `gold` (tests annotators, as many as come) or
            `closed` (asked no more).
        open_to_humans: whether people judge it; false for items imported with their ratings; column `asked`.
    """

    __tablename__ = "items"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    prompt: Mapped[int] = mapped_column(ForeignKey("prompts.key"))
    completions: Mapped[list[Any]]
    digest: Mapped[str]
    target_votes: Mapped[int] = mapped_column("wanted")
    vote_count: Mapped[int] = mapped_column("heard", default=0, server_default="0")
    priority: Mapped[float] = mapped_column(default=0.0)
    gold: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(default="open")
    open_to_humans: Mapped[bool] = mapped_column("asked", default=True)
    created: Mapped[float]

    __table_args__ = (
        UniqueConstraint("project", "digest"),
        CheckConstraint("state IN ('open', 'done', 'disputed', 'gold', 'closed')", name="state"),
        Index("ix_items_queue", "project", "state", text("priority DESC"), text("heard DESC"), "key"),
    )


class AnnotatorRow(Table):
    """Whoever judges: a person, an AI judge, a rule, a simulated rater; or a place in a list of unnamed ratings.

    Attributes:
        state: `active`, `paused` (gets no items) or `withdrawn` (their judgements no longer count).
        below: the reliability for which the watch paused them; `None` where a person did, or nobody.
        resumed: when a person last let them go on; the watch waits for new judgements before it looks again.
    """

    __tablename__ = "annotators"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(default="person")
    state: Mapped[str] = mapped_column(default="active")
    below: Mapped[float | None]
    resumed: Mapped[float | None]
    created: Mapped[float]

    __table_args__ = (
        CheckConstraint("kind IN ('person', 'judge', 'rule', 'simulated', 'anonymous')", name="kind"),
        CheckConstraint("state IN ('active', 'paused', 'withdrawn')", name="state"),
    )


class AssignmentRow(Table):
    """An item lent to an annotator until a time; one row for each pair of them, so nobody is asked twice.

    Attributes:
        shown: places of the item's completions in the order in which this annotator sees them.
        until: when the lease ends; a heartbeat moves it.
        state: `leased`, `done` or `skipped`; a lease that is over is known by its time.
        draft: what was answered so far.
    """

    __tablename__ = "assignments"

    key: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[int] = mapped_column(ForeignKey("items.key"))
    annotator: Mapped[str] = mapped_column(ForeignKey("annotators.id"), index=True)
    shown: Mapped[list[Any]]
    until: Mapped[float]
    state: Mapped[str] = mapped_column(default="leased")
    draft: Mapped[dict[str, Any] | None]
    created: Mapped[float]

    __table_args__ = (
        UniqueConstraint("item", "annotator"),
        CheckConstraint("state IN ('leased', 'done', 'skipped')", name="state"),
    )


class JudgementRow(Table):
    """What an annotator said, once. Its answer never changes: a correction is another row that names this one.

    Attributes:
        id: made by the client, so that sending it again adds nothing.
        shown: completion ids in the order in which they were seen.
        answer: what was said of them.
        surplus: it came after enough others; kept, and not counted, until a place of its item is free again.
        supersedes: the judgement that this one corrects.
        seconds: active and idle time, as the page measured it.
    """

    __tablename__ = "judgements"

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    item: Mapped[int] = mapped_column(ForeignKey("items.key"), index=True)
    annotator: Mapped[str] = mapped_column(ForeignKey("annotators.id"), index=True)
    shown: Mapped[list[Any]]
    answer: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(default="")
    confidence: Mapped[float | None]
    seconds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    surplus: Mapped[bool] = mapped_column(default=False)
    supersedes: Mapped[str | None] = mapped_column(ForeignKey("judgements.id"), unique=True)
    created: Mapped[float]


class DecisionRow(Table):
    """What a reviewer decided of a disputed item. Never changed; the last one of nobody who withdrew stands.

    The judgements that were disputed stay as they are, and beside it.

    Attributes:
        id: made by the client, so that sending it again adds nothing.
        answer: what holds, of the completions in the item's own order.
        corrects: the decision that stood before, which the reviewer saw.
    """

    __tablename__ = "decisions"

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    item: Mapped[int] = mapped_column(ForeignKey("items.key"), index=True)
    reviewer: Mapped[str] = mapped_column(ForeignKey("annotators.id"))
    answer: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(default="")
    corrects: Mapped[str | None] = mapped_column(ForeignKey("decisions.id"))
    created: Mapped[float]


class InviteRow(Table):
    """A personal link: whoever has it is this annotator. Only a digest of its token is kept.

    Attributes:
        role: `admin`, `reviewer` or `annotator`.
    """

    __tablename__ = "invites"

    token: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    annotator: Mapped[str] = mapped_column(ForeignKey("annotators.id"))
    role: Mapped[str]
    revoked: Mapped[bool] = mapped_column(default=False)
    created: Mapped[float]

    __table_args__ = (CheckConstraint("role IN ('admin', 'reviewer', 'annotator')", name="role"),)


class SessionRow(Table):
    """A browser that came in by a link; a digest of what its cookie holds."""

    __tablename__ = "sessions"

    token: Mapped[str] = mapped_column(primary_key=True)
    invite: Mapped[str] = mapped_column(ForeignKey("invites.token"))
    until: Mapped[float]


class ExportRow(Table):
    """A data set that was made, with a manifest of the judgements in it."""

    __tablename__ = "exports"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    digest: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    created: Mapped[float]


# Made once: building them anew for each statement took a quarter of the time that a vote costs.
_LATER, JUDGE = aliased(JudgementRow), aliased(AnnotatorRow)


def superseded() -> ColumnElement[bool]:
    """Whether another judgement corrects this one."""
    return exists().where(_LATER.supersedes == JudgementRow.id)


def standing(*what: Any) -> Any:
    """Of judgements that stand: not corrected by another, of nobody who withdrew; surplus ones among them.

    `what` may name columns of `JUDGE`, who said it.
    """
    return (
        select(*what)
        .select_from(JudgementRow)
        .join(JUDGE, JUDGE.id == JudgementRow.annotator)
        .where(JUDGE.state != "withdrawn", ~superseded())
    )


def voices(item: Any, *what: Any) -> Any:
    """Of an item's judgements that count: those that stand and are not surplus."""
    return standing(*what).where(JudgementRow.item == item, ~JudgementRow.surplus)


def taken(item: Any, now: Any) -> Any:
    """How many places of an item are taken: by judgements that count, and by leases that run at that time."""
    leases = (
        select(func.count())
        .select_from(AssignmentRow)
        .where(AssignmentRow.item == item, AssignmentRow.state == "leased", AssignmentRow.until > now)
        .scalar_subquery()
    )
    return voices(item, func.count()).scalar_subquery() + leases


def decisions(*which: Any) -> Any:
    """The decisions of nobody who withdrew, in the order in which they came; the last one of an item stands."""
    return (
        select(DecisionRow)
        .join(AnnotatorRow, AnnotatorRow.id == DecisionRow.reviewer)
        .where(AnnotatorRow.state != "withdrawn", *which)
        .order_by(DecisionRow.sequence)
    )
