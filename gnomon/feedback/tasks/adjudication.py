"""Adjudication: items with all their judgements, and a reviewer's decisions on disputed ones.

A decision is a row of its own (`DecisionRow`), stored beside the judgements and never changed; a later decision
that names it replaces it. It resolves the item, and exports use it instead of the judgements.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.store import queries
from gnomon.feedback.store.resolution import counted_labels, effective_decision, resolve_item
from gnomon.feedback.store.schema import (
    AUTHOR,
    AnnotatorRow,
    AssignmentRow,
    CompletionRow,
    DecisionRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
    effective_decisions,
    effective_judgements,
)
from gnomon.feedback.store.store import Store, as_completion, as_prompt, require
from gnomon.feedback.task_types import check_answer, setup_of, vote_label
from gnomon.feedback.written_answers import is_written, without_unmatched_reviews

MAX_LISTED = 200  # items of a list, and of a search for unanimous ones


@dataclass(frozen=True)
class ReviewedJudgement:
    """A judgement in a review; indices of `answer` refer to the completions in the item's own order."""

    id: str
    annotator: str
    name: str
    answer: dict[str, Any]
    reason: str
    confidence: float | None
    surplus: bool
    when: float


@dataclass(frozen=True)
class SkipNote:
    """An annotator who skipped the item, and their reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class ReviewedItem:
    """An item with all its judgements.

    Attributes:
        item: key of the item.
        completions: in the item's own order, without their sources.
        judgements: effective judgements, including surplus ones, in order of arrival; without the reviews of
            written texts that are not among them.
        gold: the correct answer of a gold item.
        decision: `id`, `answer` and `reason` of the effective decision, and the reviewer's `name`.
        skipped: annotators who skipped the item.
    """

    item: int
    state: str
    prompt: Prompt
    category: str
    completions: tuple[Completion, ...]
    judgements: tuple[ReviewedJudgement, ...]
    gold: dict[str, Any] | None
    decision: dict[str, Any] | None
    skipped: tuple[SkipNote, ...] = ()


@dataclass(frozen=True)
class ItemSummary:
    """An item of a list: its key, state and prompt, and the labels of its counted judgements."""

    item: int
    state: str
    prompt: Prompt
    labels: tuple[Any, ...]


def disputed_items(store: Store, project: str) -> list[ItemSummary]:
    """Return the items that wait for a decision, oldest first; at most `MAX_LISTED`."""
    return _listed(store, ItemRow.project == project, ItemRow.state == "disputed")


def decided_items(store: Store, project: str) -> list[ItemSummary]:
    """Return the items with an effective decision, the latest first; at most `MAX_LISTED`."""
    of_item = effective_decisions(DecisionRow.item == ItemRow.key).order_by(None)
    latest = of_item.with_only_columns(func.max(DecisionRow.sequence)).correlate(ItemRow).scalar_subquery()
    return _listed(
        store, ItemRow.project == project, ItemRow.state == "done", latest.is_not(None), order=latest.desc()
    )


def unanimous_items(store: Store, project: str, *, min_votes: int = 2, limit: int = 20) -> list[ItemSummary]:
    """Return done items whose judgements have one label: candidates for gold items.

    Args:
        store: the feedback store.
        project: id of the project.
        min_votes: minimum number of judgements of an item.
        limit: maximum number of items; those with most judgements come first.
    """
    done = _listed(store, ItemRow.project == project, ItemRow.state == "done", ItemRow.target_votes >= min_votes)
    unanimous = [row for row in done if len(row.labels) >= min_votes and len(set(row.labels)) == 1]
    return sorted(unanimous, key=lambda row: (-len(row.labels), row.item))[:limit]


def review_item(store: Store, project: str, item: int) -> ReviewedItem:
    """Return an item with all its judgements and its decision.

    Args:
        store: the feedback store.
        project: id of the project.
        item: key of the item.

    Raises:
        DataError: the project has no such item.
    """
    with store.reading() as session:
        row = session.get(ItemRow, item)
        row = require(row if row is not None and row.project == project else None, "item", item)
        prompt = require(session.get(PromptRow, row.prompt), "prompt", row.prompt)
        completions = select(CompletionRow).where(CompletionRow.key.in_(row.completions))
        by_key = {completion.key: completion for completion in session.scalars(completions)}
        ordered = [by_key[key] for key in row.completions]
        decision = effective_decision(session, item)
        reviewer = session.get(AnnotatorRow, decision.reviewer) if decision else None
        return ReviewedItem(
            item,
            row.state,
            as_prompt(prompt),
            prompt.category,
            tuple(as_completion(completion, source=False) for completion in ordered),
            tuple(_judgements(session, item, [completion.id for completion in ordered])),
            row.gold,
            None
            if decision is None or reviewer is None
            else {"id": decision.id, "answer": decision.answer, "reason": decision.reason, "name": reviewer.name},
            tuple(_skipped(session, item)),
        )


def skip_count(store: Store, project: str) -> int:
    """Return the number of times that an item of the project was skipped."""
    count = select(func.count()).select_from(AssignmentRow).join(ItemRow, ItemRow.key == AssignmentRow.item)
    with store.reading() as session:
        return session.scalar(count.where(ItemRow.project == project, AssignmentRow.state == "skipped")) or 0


def decide(
    store: Store,
    project: str,
    item: int,
    reviewer: str,
    answer: Mapping[str, Any],
    *,
    id: str,
    reason: str = "",
    corrects: str | None = None,
) -> None:
    """Decide a disputed item, or correct its effective decision.

    An item whose answer is written need not be disputed: a decision replaces its texts, or rejects them all.

    Args:
        store: the feedback store.
        project: id of the project.
        item: key of the item.
        reviewer: annotator id of the reviewer.
        answer: the decision; indices refer to the completions in the item's own order.
        id: unique id chosen by the caller; a repeated call with it adds nothing.
        reason: the reviewer's reason.
        corrects: id of the effective decision that the reviewer saw, if there was one.

    Raises:
        DataError: the reviewer has withdrawn, the item is not disputed, the answer does not fit the project's
            task, or another reviewer has decided meanwhile.
    """
    with store.writing() as session:
        # Lock the reviewer before the item, in the order of a withdrawal, to avoid a deadlock.
        state = require(session.scalar(queries.ANNOTATOR_STATE, {"annotator": reviewer}), "annotator", reviewer)
        locked = session.scalars(queries.LOCK_ITEM, {"item": item, "project": project})
        row = require(locked.first(), "item", item)
        project_row = require(session.get(ProjectRow, project), "project", project)
        if state == "withdrawn":
            raise DataError(
                f"reviewer '{reviewer}' has withdrawn and can decide nothing; set them to active first."
            )
        checked = check_answer(project_row.task, setup_of(project_row.settings), len(row.completions), answer)
        checked.pop("reviews", None)  # a decision is about the item, not about one text
        earlier = session.scalars(select(DecisionRow).where(DecisionRow.id == id)).first()
        if earlier is not None:
            if (earlier.item, earlier.reviewer, earlier.answer) != (item, reviewer, checked):
                raise DataError(f"decision id '{id}' belongs to another decision; use a new id.")
            return
        effective = effective_decision(session, item)
        if (effective.id if effective else None) != corrects:
            raise DataError(f"another reviewer decided item {item} meanwhile; reload it.")
        if row.state != "disputed" and effective is None and row.completions:
            raise DataError(f"item {item} is not disputed; choose a disputed item.")
        session.add(
            DecisionRow(
                id=id,
                item=item,
                reviewer=reviewer,
                answer=checked,
                reason=reason,
                corrects=corrects,
                created=time.time(),
            )
        )
        session.flush()
        resolve_item(session, row, project_row)


def _listed(store: Store, *conditions: Any, order: Any = ItemRow.key) -> list[ItemSummary]:
    """Summaries of the first `MAX_LISTED` items that meet the conditions."""
    with store.reading() as session:
        rows = session.scalars(select(ItemRow).where(*conditions).order_by(order).limit(MAX_LISTED)).all()
        summaries = []
        for row in rows:
            prompt = require(session.get(PromptRow, row.prompt), "prompt", row.prompt)
            labels = tuple(counted_labels(session, row))
            summaries.append(ItemSummary(row.key, row.state, as_prompt(prompt), labels))
        return summaries


def _judgements(session: Session, item: int, ids: Sequence[str]) -> list[ReviewedJudgement]:
    """The effective judgements of an item, whose completions have these ids, in order of arrival.

    Reviews of written texts that are not among them are left out.
    """
    statement = effective_judgements(JudgementRow, AUTHOR.name).where(JudgementRow.item == item)
    judgements = [
        ReviewedJudgement(
            row.id,
            row.annotator,
            name,
            in_item_order(row.answer, row.shown, ids),
            row.reason,
            row.confidence,
            row.surplus,
            row.created,
        )
        for row, name in session.execute(statement.order_by(JudgementRow.sequence))
    ]
    return without_unmatched_reviews(judgements)


def _skipped(session: Session, item: int) -> list[SkipNote]:
    """The annotators who skipped an item, with their reasons."""
    statement = (
        select(AnnotatorRow.name, AssignmentRow.draft)
        .join(AnnotatorRow, AnnotatorRow.id == AssignmentRow.annotator)
        .where(AssignmentRow.item == item, AssignmentRow.state == "skipped")
        .order_by(AssignmentRow.key)
    )
    return [SkipNote(name, (draft or {}).get("reason", "")) for name, draft in session.execute(statement)]


def in_item_order(answer: Mapping[str, Any], shown: Sequence[str], ids: Sequence[str]) -> dict[str, Any]:
    """Convert an answer to the item's own order of completions; a rewritten completion is left out.

    Args:
        answer: the answer; indices refer to `shown`.
        shown: completion ids in the order displayed to the annotator.
        ids: completion ids in the item's own order.
    """
    if is_written(answer):
        return dict(answer)
    if "choice" in answer:
        choice = str(vote_label(answer, shown, ids))
        return {"choice": {"a": "first", "b": "second"}.get(choice, choice)}
    if "order" in answer:
        return {"order": [ids.index(shown[index]) for index in answer["order"]]}
    by_id = dict(zip(shown, answer["scores"], strict=True))
    return {"scores": [by_id[name] for name in ids]}
