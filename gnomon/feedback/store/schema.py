"""The tables of the feedback store.

Judgements and decisions are events: rows are added, and their answers never change; a correction is a row that
names the earlier one. Other rows may change, and have a time of creation. Times are seconds since 1970; ids of
people or other programs are texts.
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

NAMING = {  # constraints have names, so that migrations can change them on every database
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """Base class of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON}  # noqa: RUF012 - SQLAlchemy's own way


class ProjectRow(Table):
    """A project: items of one kind of task, with their question and settings.

    Attributes:
        title: the question to annotators.
        guidelines: instructions to annotators, as markdown.
        task: `pair`, `ranking`, `rating`, `likert` or `demonstration`.
        votes_per_item: number of judgements that each item needs.
        max_votes: limit of that number while judgements disagree.
        settings: fields of `task_types.Setup`.
        salt: secret that seeds the draw of gold items, so that annotators cannot predict it.
    """

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    guidelines: Mapped[str] = mapped_column(default="")
    task: Mapped[str]
    votes_per_item: Mapped[int]
    max_votes: Mapped[int]
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    salt: Mapped[str] = mapped_column(default=lambda: secrets.token_hex(16))
    created: Mapped[float]

    __table_args__ = (
        CheckConstraint("task IN ('pair', 'ranking', 'rating', 'likert', 'demonstration')", name="task"),
        CheckConstraint("votes_per_item >= 1 AND max_votes >= votes_per_item", name="votes"),
    )


class PromptRow(Table):
    """A prompt of a project's prompt bank.

    Attributes:
        messages: rows with `role` and `content`.
        context: `tools` and `chat_template_kwargs`; `None` if there are none.
        answer: the known correct answer, if any.
        digest: digest of the messages, and of the context if there is one; unique within a project.
        value: expected benefit of judging it, in [0, 1].
        edge: whether it is an edge case.
        requirement: `key` of the requirement that annotators of its items must meet; `None`: there is none.
    """

    __tablename__ = "prompts"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    id: Mapped[str]
    messages: Mapped[list[Any]]
    context: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    answer: Mapped[str | None]
    digest: Mapped[str]
    category: Mapped[str] = mapped_column(default="")
    tags: Mapped[list[Any]] = mapped_column(default=list)
    value: Mapped[float] = mapped_column(default=0.5)
    edge: Mapped[bool] = mapped_column(default=False)
    requirement: Mapped[str | None]
    created: Mapped[float]

    __table_args__ = (
        UniqueConstraint("project", "id"),
        UniqueConstraint("project", "digest", name="uq_prompts_digest"),
    )


class RequirementRow(Table):
    """A requirement of a project's prompts; see `requirements.Requirement`."""

    __tablename__ = "requirements"

    project: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str] = mapped_column(default="")
    domain: Mapped[str] = mapped_column(default="")
    skills: Mapped[list[Any]] = mapped_column(default=list)


class CompletionRow(Table):
    """A completion of a prompt, with its source: a model, a person or a file.

    Attributes:
        text: text of the assistant's turns, separated by blank lines.
        turns: all messages of a completion with several turns, including those of the user and of tools; `None`
            for a single text.
        digest: digest of the turns, or of the text if there are none; unique within a prompt.
        source: name of the model, person or file.
        generation: model settings, seed and other details of how it was generated.
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
    generation: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created: Mapped[float]

    __table_args__ = (
        UniqueConstraint("project", "id"),
        UniqueConstraint("prompt", "digest", name="uq_completions_digest"),
    )


class ItemRow(Table):
    """An item to judge: one or more completions of one prompt. Or a prompt alone, whose answer is written.

    Attributes:
        completions: keys of completions, in the item's own order; each annotator sees an order of their own.
            Empty if annotators write the answer.
        digest: digest of the completions as a set, or of the prompt alone; unique within a project.
        target_votes: number of judgements that it needs; raised while they disagree.
        vote_count: number of judgements counted at its last resolution; orders the queue.
        priority: items with a higher one are assigned first.
        gold: the correct answer of a gold item, as `check_answer` returns it for completions in the item's own
            order.
        state: `open`, `done`, `disputed` (waits for adjudication), `gold` (tests any number of annotators) or
            `closed` (assigned to nobody).
        open_to_humans: whether people judge it; false for items imported with their ratings.
        requirement: that of its prompt.
    """

    __tablename__ = "items"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    prompt: Mapped[int] = mapped_column(ForeignKey("prompts.key"))
    completions: Mapped[list[Any]]
    digest: Mapped[str]
    target_votes: Mapped[int]
    vote_count: Mapped[int] = mapped_column(default=0, server_default="0")
    priority: Mapped[float] = mapped_column(default=0.0)
    gold: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(default="open")
    open_to_humans: Mapped[bool] = mapped_column(default=True)
    requirement: Mapped[str | None]
    created: Mapped[float]

    __table_args__ = (
        UniqueConstraint("project", "digest"),
        CheckConstraint("state IN ('open', 'done', 'disputed', 'gold', 'closed')", name="state"),
        Index("ix_items_queue", "project", "state", text("priority DESC"), text("vote_count DESC"), "key"),
    )


class AnnotatorRow(Table):
    """An annotator: a person, a judge model, a rule, a simulation, or a placeholder for unnamed ratings.

    Attributes:
        kind: `person`, `judge`, `rule`, `simulated` or `anonymous` (placeholder k stands for the k-th rating
            of each item, imported without annotator names).
        state: `active`, `paused` (gets no items) or `withdrawn` (their judgements do not count).
        below: the reliability at which the monitor paused them; `None` if they are not paused, or by a person.
        resumed: time of the last activation by a person; the monitor then waits for new judgements.
        profile: `languages`, `domains` and `skills` of a person; `None` if none are known.
    """

    __tablename__ = "annotators"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(default="person")
    state: Mapped[str] = mapped_column(default="active")
    below: Mapped[float | None]
    resumed: Mapped[float | None]
    profile: Mapped[dict[str, Any] | None]
    created: Mapped[float]

    __table_args__ = (
        CheckConstraint("kind IN ('person', 'judge', 'rule', 'simulated', 'anonymous')", name="kind"),
        CheckConstraint("state IN ('active', 'paused', 'withdrawn')", name="state"),
    )


class AssignmentRow(Table):
    """The lease of an item by an annotator; one row per item and annotator, so nobody gets an item twice.

    Attributes:
        shown: indices into the item's completions, in the order displayed to this annotator.
        until: time at which the lease ends, in seconds since 1970; a heartbeat extends it.
        state: `leased`, `done` or `skipped`; an expired lease stays `leased`, with `until` in the past.
        draft: the unfinished answer of a leased item; `{"reason": …}` of a skipped one.
        reviews: id of the judgement whose written text the annotator reviews; `None` for everything else.
    """

    __tablename__ = "assignments"

    key: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[int] = mapped_column(ForeignKey("items.key"))
    annotator: Mapped[str] = mapped_column(ForeignKey("annotators.id"), index=True)
    shown: Mapped[list[Any]]
    until: Mapped[float]
    state: Mapped[str] = mapped_column(default="leased")
    draft: Mapped[dict[str, Any] | None]
    reviews: Mapped[str | None]
    created: Mapped[float]

    __table_args__ = (
        UniqueConstraint("item", "annotator"),
        CheckConstraint("state IN ('leased', 'done', 'skipped')", name="state"),
    )


class JudgementRow(Table):
    """An annotator's judgement of an item. Its answer never changes: a correction is a row that names this one.

    Attributes:
        sequence: order of arrival.
        id: id chosen by the client, so that a repeated request adds nothing.
        shown: completion ids, in the order displayed to the annotator.
        answer: as `check_answer` returns it; indices refer to `shown`.
        confidence: the annotator's confidence, in [0, 1], if the project requests it.
        seconds: `active` and `idle` time, measured by the page.
        surplus: whether all slots of the item were filled when it arrived; it does not count until one is free.
        supersedes: id of the judgement that this one corrects.
        invite: `token` of the link with which the annotator opened their session; `None` from programs.
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
    invite: Mapped[str | None] = mapped_column(index=True)
    created: Mapped[float]


class DecisionRow(Table):
    """A reviewer's decision on a disputed item.

    Rows never change. An item's effective decision is the last one by a reviewer who has not withdrawn. The
    disputed judgements are stored unchanged.

    Attributes:
        sequence: order of arrival.
        id: id chosen by the client, so that a repeated request adds nothing.
        answer: as `check_answer` returns it for completions in the item's own order.
        corrects: id of the decision that was effective before, and that the reviewer saw.
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


class QualificationItemRow(Table):
    """An item that is a question of its project's qualification, with the explanation of its known answer."""

    __tablename__ = "qualification_items"

    item: Mapped[int] = mapped_column(ForeignKey("items.key"), primary_key=True)
    explanation: Mapped[str] = mapped_column(default="")


class QualificationAttemptRow(Table):
    """An annotator's attempt at a project's qualification.

    Attributes:
        number: number of the attempt, from 1.
        questions: number of questions.
        correct: number of correct answers; `None` until all questions are answered.
        passed: whether they were enough; `None` until then.
    """

    __tablename__ = "qualification_attempts"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    annotator: Mapped[str] = mapped_column(ForeignKey("annotators.id"))
    number: Mapped[int]
    questions: Mapped[int]
    correct: Mapped[int | None]
    passed: Mapped[bool | None]
    created: Mapped[float]
    finished: Mapped[float | None]

    __table_args__ = (UniqueConstraint("project", "annotator", "number"),)


class QualificationAnswerRow(Table):
    """An answer to a question of a qualification; `shown` and `answer` are as in `JudgementRow`."""

    __tablename__ = "qualification_answers"

    id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(ForeignKey("qualification_attempts.key"))
    item: Mapped[int] = mapped_column(ForeignKey("items.key"))
    shown: Mapped[list[Any]]
    answer: Mapped[dict[str, Any]]
    correct: Mapped[bool]
    created: Mapped[float]

    __table_args__ = (UniqueConstraint("attempt", "item"),)


class InviteRow(Table):
    """A personal link, which authenticates an annotator.

    Attributes:
        token: digest of the link's token; the token itself is not stored.
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


class CrowdLinkRow(Table):
    """A link for all workers of a crowd platform, who become annotators when they open it.

    Attributes:
        token: digest of the link's token; the token itself is not stored.
        settings: fields of `crowd_platforms.CrowdLink`.
    """

    __tablename__ = "crowd_links"

    key: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    settings: Mapped[dict[str, Any]]
    revoked: Mapped[bool] = mapped_column(default=False)
    created: Mapped[float]


class CrowdWorkerRow(Table):
    """The annotator who is a worker of a crowd platform, the same in all projects of the store."""

    __tablename__ = "crowd_workers"

    annotator: Mapped[str] = mapped_column(ForeignKey("annotators.id"), primary_key=True)
    platform: Mapped[str]
    worker: Mapped[str]

    __table_args__ = (UniqueConstraint("platform", "worker"),)


class CrowdVisitRow(Table):
    """A worker's work for one link of a crowd platform.

    Attributes:
        invite: `token` of the personal link that the worker's sessions use.
        details: values of the link's context parameters, at the last opening.
        code: completion code; `None` until the worker has finished.
        finished: time at which the worker got the code.
    """

    __tablename__ = "crowd_visits"

    invite: Mapped[str] = mapped_column(ForeignKey("invites.token"), primary_key=True)
    link: Mapped[int] = mapped_column(ForeignKey("crowd_links.key"))
    annotator: Mapped[str] = mapped_column(ForeignKey("annotators.id"))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    code: Mapped[str | None]
    finished: Mapped[float | None]
    created: Mapped[float]

    __table_args__ = (UniqueConstraint("link", "annotator"),)


class SessionRow(Table):
    """A browser session that was opened with a personal link.

    Attributes:
        token: digest of the session cookie.
        invite: `token` of the link.
        until: time at which the session ends.
    """

    __tablename__ = "sessions"

    token: Mapped[str] = mapped_column(primary_key=True)
    invite: Mapped[str] = mapped_column(ForeignKey("invites.token"))
    until: Mapped[float]


class ExportRow(Table):
    """An export, with the manifest of its judgements."""

    __tablename__ = "exports"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    digest: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    created: Mapped[float]


# Created once: building the aliases for each statement took a quarter of the time of a submission.
_LATER, AUTHOR = aliased(JudgementRow), aliased(AnnotatorRow)


def superseded() -> ColumnElement[bool]:
    """Return the condition that another judgement corrects a row of `JudgementRow`."""
    return exists().where(_LATER.supersedes == JudgementRow.id)


def effective_judgements(*columns: Any) -> Any:
    """Select columns of the effective judgements: not superseded, of annotators who have not withdrawn.

    Surplus judgements are included. Columns of the annotator are those of `AUTHOR`.
    """
    return (
        select(*columns)
        .select_from(JudgementRow)
        .join(AUTHOR, AUTHOR.id == JudgementRow.annotator)
        .where(AUTHOR.state != "withdrawn", ~superseded())
    )


def counted_judgements(item: Any, *columns: Any) -> Any:
    """Select columns of an item's counted judgements: effective and not surplus."""
    return effective_judgements(*columns).where(JudgementRow.item == item, ~JudgementRow.surplus)


def filled_slots(item: Any, now: Any) -> Any:
    """Return the number of an item's slots filled by counted judgements, or by leases that end after `now`."""
    leases = (
        select(func.count())
        .select_from(AssignmentRow)
        .where(AssignmentRow.item == item, AssignmentRow.state == "leased", AssignmentRow.until > now)
        .scalar_subquery()
    )
    return counted_judgements(item, func.count()).scalar_subquery() + leases


def effective_decisions(*conditions: Any) -> Any:
    """Select the decisions of reviewers who have not withdrawn, in order of arrival.

    The last one of an item is its effective decision.
    """
    return (
        select(DecisionRow)
        .join(AnnotatorRow, AnnotatorRow.id == DecisionRow.reviewer)
        .where(AnnotatorRow.state != "withdrawn", *conditions)
        .order_by(DecisionRow.sequence)
    )
