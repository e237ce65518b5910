"""Disputed items: what everybody said of them, and what a reviewer decides.

A decision is an event of its own (`DecisionRow`), kept beside the judgements and never changed; a later one that
names it takes its place. It settles the item and is what an export says of it. What was judged stays as it was.
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
from gnomon.feedback.store.resolution import decision, settle, verdicts
from gnomon.feedback.store.schema import (
    JUDGE,
    AnnotatorRow,
    AssignmentRow,
    CompletionRow,
    DecisionRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
    decisions,
    standing,
)
from gnomon.feedback.store.store import Store, as_completion, as_prompt, existing
from gnomon.feedback.task_types import check_answer, setup_of, verdict

MAX_LISTED = 200  # items of a list, and those among which unanimous ones are looked for


@dataclass(frozen=True)
class ReviewedJudgement:
    """What one annotator said; `answer` speaks of the completions in the item's own order."""

    annotator: str
    name: str
    answer: dict[str, Any]
    reason: str
    confidence: float | None
    surplus: bool
    when: float


@dataclass(frozen=True)
class SkipNote:
    """Somebody who did not judge the item, and what they say stopped them."""

    name: str
    reason: str


@dataclass(frozen=True)
class ReviewedItem:
    """An item with all that was said of it.

    Attributes:
        completions: in the item's own order; their sources stay in the store.
        verdicts: what each of the voices comes down to.
        gold: the answer that is known to be right.
        decided: the id of the decision that stands, its answer, its reason, and by whom.
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
    """An item of a list: its number, what is asked, and what its voices come down to."""

    item: int
    state: str
    prompt: Prompt
    verdicts: tuple[Any, ...]


def disputed_items(store: Store, project: str) -> list[ItemSummary]:
    """The items that wait for a decision, oldest first."""
    return _listed(store, ItemRow.project == project, ItemRow.state == "disputed")


def decided_items(store: Store, project: str) -> list[ItemSummary]:
    """The items that a reviewer decided who did not withdraw, last decided first."""
    made = decisions(DecisionRow.item == ItemRow.key).order_by(None)
    latest = made.with_only_columns(func.max(DecisionRow.sequence)).correlate(ItemRow).scalar_subquery()
    return _listed(
        store, ItemRow.project == project, ItemRow.state == "done", latest.is_not(None), order=latest.desc()
    )


def unanimous_items(store: Store, project: str, *, least: int = 2, most: int = 20) -> list[ItemSummary]:
    """Done items of which at least so many all said the same: gold ones may be found among them."""
    found = _listed(store, ItemRow.project == project, ItemRow.state == "done", ItemRow.target_votes >= least)
    alike = [one for one in found if len(one.verdicts) >= least and len(set(one.verdicts)) == 1]
    return sorted(alike, key=lambda one: (-len(one.verdicts), one.item))[:most]


def review_item(store: Store, project: str, item: int) -> ReviewedItem:
    """An item with everybody's answers and reasons.

    Raises:
        DataError: the project has no such item.
    """
    with store.reading() as session:
        row = session.get(ItemRow, item)
        row = existing(row if row is not None and row.project == project else None, "item", item)
        prompt = existing(session.get(PromptRow, row.prompt), "prompt", row.prompt)
        texts = select(CompletionRow).where(CompletionRow.key.in_(row.completions))
        by_key = {one.key: one for one in session.scalars(texts)}
        ordered = [by_key[key] for key in row.completions]
        stands = decision(session, item)
        by = session.get(AnnotatorRow, stands.reviewer) if stands else None
        return ReviewedItem(
            item,
            row.state,
            as_prompt(prompt),
            prompt.category,
            tuple(as_completion(one, source=False) for one in ordered),
            tuple(_voices(session, item, [one.id for one in ordered])),
            row.gold,
            None
            if stands is None or by is None
            else {"id": stands.id, "answer": stands.answer, "reason": stands.reason, "name": by.name},
            tuple(_skipped(session, item)),
        )


def skip_count(store: Store, project: str) -> int:
    """How often an item of the project was skipped."""
    wanted = select(func.count()).select_from(AssignmentRow).join(ItemRow, ItemRow.key == AssignmentRow.item)
    with store.reading() as session:
        return session.scalar(wanted.where(ItemRow.project == project, AssignmentRow.state == "skipped")) or 0


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
    """Settle a disputed item, or correct the decision that settled it.

    Args:
        store: where it is.
        project: whose it is.
        item: its number.
        reviewer: the id of who decides.
        answer: what holds, as if the completions were shown in the item's own order.
        id: made by whoever decides, once; sending it again adds nothing.
        reason: why.
        corrects: the decision that stood when the reviewer looked.

    Raises:
        DataError: the reviewer has withdrawn, the item is not disputed, the answer is none of the project's
            task, or somebody else decided in the meantime.
    """
    with store.writing() as session:
        # Before the item, as a withdrawal does, so that neither waits for the other.
        state = existing(session.scalar(queries.PERSON, {"annotator": reviewer}), "annotator", reviewer)
        locked = session.scalars(queries.LOCKED, {"item": item, "project": project})
        row = existing(locked.first(), "item", item)
        asked = existing(session.get(ProjectRow, project), "project", project)
        if state == "withdrawn":
            raise DataError(f"reviewer '{reviewer}' has withdrawn; nothing more is taken of them.")
        checked = check_answer(asked.task, setup_of(asked.settings), len(row.completions), answer)
        known = session.scalars(select(DecisionRow).where(DecisionRow.id == id)).first()
        if known is not None:
            if (known.item, known.reviewer, known.answer) != (item, reviewer, checked):
                raise DataError(f"decision id '{id}' is of another decision; make a new one.")
            return
        stands = decision(session, item)
        if (stands.id if stands else None) != corrects:
            raise DataError(f"somebody else decided item {item} meanwhile; look at it again.")
        if row.state != "disputed" and stands is None:
            raise DataError(f"item {item} is not disputed; there is nothing to decide.")
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
        settle(session, row, asked)


def _listed(store: Store, *which: Any, order: Any = ItemRow.key) -> list[ItemSummary]:
    with store.reading() as session:
        rows = session.scalars(select(ItemRow).where(*which).order_by(order).limit(MAX_LISTED)).all()
        found = []
        for row in rows:
            prompt = existing(session.get(PromptRow, row.prompt), "prompt", row.prompt)
            found.append(ItemSummary(row.key, row.state, as_prompt(prompt), tuple(verdicts(session, row))))
        return found


def _voices(session: Session, item: int, names: Sequence[str]) -> list[ReviewedJudgement]:
    wanted = standing(JudgementRow, JUDGE.name).where(JudgementRow.item == item).order_by(JudgementRow.sequence)
    return [
        ReviewedJudgement(
            row.annotator,
            name,
            in_own_order(row.answer, row.shown, names),
            row.reason,
            row.confidence,
            row.surplus,
            row.created,
        )
        for row, name in session.execute(wanted)
    ]


def _skipped(session: Session, item: int) -> list[SkipNote]:
    wanted = (
        select(AnnotatorRow.name, AssignmentRow.draft)
        .join(AnnotatorRow, AnnotatorRow.id == AssignmentRow.annotator)
        .where(AssignmentRow.item == item, AssignmentRow.state == "skipped")
        .order_by(AssignmentRow.key)
    )
    return [SkipNote(name, (draft or {}).get("reason", "")) for name, draft in session.execute(wanted)]


def in_own_order(answer: Mapping[str, Any], shown: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """The answer that says the same of the completions in the item's own order; without a rewritten text."""
    if "choice" in answer:
        said = verdict(answer, shown, names)
        return {"choice": {"a": "first", "b": "second"}.get(str(said), str(said))}
    if "order" in answer:
        return {"order": [names.index(shown[place]) for place in answer["order"]]}
    by_id = dict(zip(shown, answer["scores"], strict=True))
    return {"scores": [by_id[name] for name in names]}
