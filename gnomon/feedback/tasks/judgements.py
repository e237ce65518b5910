"""The effective judgements of a project, item by item, for exports and statistics.

Effective judgements are neither corrected by a later one nor of an annotator who has withdrawn. Items are read in
chunks within one snapshot of the database, so that memory does not grow with the project, and all rows are of one
moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gnomon.core.types import Completion, Prompt
from gnomon.feedback.store.schema import (
    AnnotatorRow,
    CompletionRow,
    DecisionRow,
    ItemRow,
    JudgementRow,
    PromptRow,
    effective_decisions,
    effective_judgements,
    superseded,
)
from gnomon.feedback.store.store import Store, as_completion, as_prompt
from gnomon.feedback.task_types import vote_label
from gnomon.stats.votes import Vote

CHUNK = 500  # items in memory at a time


@dataclass(frozen=True, slots=True)
class StoredJudgement:
    """An effective judgement, or a decision; see `JudgementRow`. `seconds` is active time."""

    id: str
    annotator: str
    shown: tuple[str, ...]
    answer: Mapping[str, Any]
    reason: str
    confidence: float | None
    seconds: float | None
    created: float
    surplus: bool = False


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """An item with its judgements.

    Attributes:
        key: key of the item.
        completions: in the item's own order.
        gold: the correct answer of a gold item; indices refer to that order.
        judgements: effective judgements, including surplus ones, in order of arrival.
        decision: the reviewer's effective decision, which replaces the judgements, if there is one.
        state: state of the item in the store; see `ItemRow`.
        target_votes: number of judgements that it needs.
    """

    key: int
    prompt: Prompt
    completions: tuple[Completion, ...]
    gold: Mapping[str, Any] | None
    judgements: tuple[StoredJudgement, ...]
    decision: StoredJudgement | None = None
    state: str = "open"
    target_votes: int = 1

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the completions, in the item's own order."""
        return tuple(completion.id for completion in self.completions)

    @property
    def counted_judgements(self) -> tuple[StoredJudgement, ...]:
        """The judgements that count: all of a gold item, else those that are not surplus."""
        return tuple(row for row in self.judgements if self.gold is not None or not row.surplus)


@contextmanager
def snapshot(store: Store) -> Iterator[Session]:
    """Open a session that sees the store as it is at the first read, whatever is written meanwhile."""
    with Session(store.engine) as session:
        if store.engine.dialect.name == "sqlite":
            session.connection().exec_driver_sql("BEGIN")
        else:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def judged_items(
    session: Session, project: str, *, exclude: Collection[str] = (), min_confidence: float | None = None
) -> Iterator[JudgedItem]:
    """Yield all items of a project with their judgements, prompt by prompt, including gold items.

    Args:
        session: session of a `snapshot`.
        project: id of the project.
        exclude: ids of annotators whose judgements and decisions are left out.
        min_confidence: judgements with a lower confidence are left out; those without one are not.
    """
    keys = list(
        session.scalars(
            select(ItemRow.key).where(ItemRow.project == project).order_by(ItemRow.prompt, ItemRow.key)
        )
    )
    for start in range(0, len(keys), CHUNK):
        yield from _chunk(session, keys[start : start + CHUNK], exclude, min_confidence)


def _chunk(
    session: Session, keys: list[int], exclude: Collection[str], min_confidence: float | None
) -> Iterator[JudgedItem]:
    """Yield the items with these keys."""
    items = session.execute(
        select(
            ItemRow.key,
            ItemRow.prompt,
            ItemRow.completions,
            ItemRow.gold,
            ItemRow.state,
            ItemRow.target_votes,
        )
        .where(ItemRow.key.in_(keys))
        .order_by(ItemRow.prompt, ItemRow.key)
    ).all()
    completion_keys = {key for row in items for key in row.completions}
    completion_rows = session.execute(
        select(
            CompletionRow.key, CompletionRow.id, CompletionRow.text, CompletionRow.turns, CompletionRow.source
        ).where(CompletionRow.key.in_(completion_keys))
    ).all()
    completions = {row.key: as_completion(row) for row in completion_rows}
    prompt_rows = session.execute(
        select(PromptRow.key, PromptRow.id, PromptRow.messages, PromptRow.context, PromptRow.answer).where(
            PromptRow.key.in_({row.prompt for row in items})
        )
    ).all()
    prompts = {row.key: as_prompt(row) for row in prompt_rows}
    judgements = _judgements(session, keys, exclude, min_confidence)
    decisions = effective_decisions(DecisionRow.item.in_(keys), DecisionRow.reviewer.not_in(exclude))
    last_decision = {row.item: row for row in session.scalars(decisions)}
    for row in items:
        ordered = tuple(completions[key] for key in row.completions)
        ids = tuple(completion.id for completion in ordered)
        yield JudgedItem(
            row.key,
            prompts[row.prompt],
            ordered,
            row.gold,
            tuple(judgements[row.key]),
            _stored_decision(last_decision.get(row.key), ids),
            row.state,
            row.target_votes,
        )


def _judgements(
    session: Session, keys: list[int], exclude: Collection[str], min_confidence: float | None
) -> dict[int, list[StoredJudgement]]:
    """The effective judgements of these items, by item, in order of arrival."""
    statement = effective_judgements(JudgementRow).where(JudgementRow.item.in_(keys))
    by_item: dict[int, list[StoredJudgement]] = defaultdict(list)
    for row in session.scalars(statement.order_by(JudgementRow.sequence)):
        unsure = min_confidence is not None and row.confidence is not None and row.confidence < min_confidence
        if row.annotator in exclude or unsure:
            continue
        by_item[row.item].append(stored_judgement(row))
        session.expunge(row)
    return by_item


def stored_judgement(row: JudgementRow) -> StoredJudgement:
    """Convert a `JudgementRow` to a `StoredJudgement`."""
    return StoredJudgement(
        row.id,
        row.annotator,
        tuple(row.shown),
        row.answer,
        row.reason,
        row.confidence,
        (row.seconds or {}).get("active"),
        row.created,
        row.surplus,
    )


def _stored_decision(row: DecisionRow | None, ids: tuple[str, ...]) -> StoredJudgement | None:
    """Convert a decision to a judgement of the completions in the item's own order."""
    if row is None:
        return None
    return StoredJudgement(row.id, row.reviewer, ids, row.answer, row.reason, None, None, row.created)


def corrections(session: Session, project: str) -> set[str]:
    """Return the ids of the judgements that correct another one."""
    statement = select(JudgementRow.id).join(ItemRow, ItemRow.key == JudgementRow.item)
    return set(session.scalars(statement.where(ItemRow.project == project, JudgementRow.supersedes.is_not(None))))


def item_votes(item: JudgedItem) -> Iterator[Vote]:
    """Yield the counted judgements of an item as votes."""
    lengths = {completion.id: len(completion.text) for completion in item.completions}
    for judgement in item.counted_judgements:
        yield judgement_vote(judgement, item.key, item.ids, lengths)


def judgement_vote(judgement: StoredJudgement, item: int, ids: Sequence[str], lengths: Mapping[str, int]) -> Vote:
    """Convert a judgement to a vote: its label, with times, positions and lengths for metrics of annotators.

    Args:
        judgement: the judgement.
        item: key of its item.
        ids: ids of the item's completions, in its own order.
        lengths: length of each completion in characters, by id.
    """
    chosen = {"first": 0, "second": 1}.get(judgement.answer.get("choice", ""))
    other = None if chosen is None else judgement.shown[1 - chosen]
    return Vote(
        judgement.annotator,
        item,
        vote_label(judgement.answer, judgement.shown, ids),
        judgement.created,
        judgement.seconds,
        None if chosen is None else chosen == 0,
        None if chosen is None else lengths[judgement.shown[chosen]],
        None if other is None else lengths[other],
        judgement.reason,
        judgement.confidence,
    )


def gold_label(item: JudgedItem) -> Hashable | None:
    """Return the correct label of a gold item, in its own order; None of other items."""
    return None if item.gold is None else vote_label(item.gold, item.ids, item.ids)


def count_judgements(session: Session, project: str, annotators: Collection[str] | None) -> int:
    """Count the judgements that an export leaves out because of their annotator.

    Judgements of gold items, surplus and superseded ones are not counted.

    Args:
        session: a session to read with.
        project: id of the project.
        annotators: excluded annotators who have not withdrawn; `None` counts those of withdrawn annotators.
    """
    withdrawn = AnnotatorRow.state == "withdrawn"
    left_out = withdrawn if annotators is None else AnnotatorRow.id.in_(annotators) & ~withdrawn
    statement = (
        select(func.count())
        .select_from(JudgementRow)
        .join(ItemRow, ItemRow.key == JudgementRow.item)
        .join(AnnotatorRow, AnnotatorRow.id == JudgementRow.annotator)
        .where(ItemRow.project == project, ItemRow.gold.is_(None), left_out, ~JudgementRow.surplus, ~superseded())
    )
    return int(session.scalar(statement) or 0)


def count_unsure(session: Session, project: str, min_confidence: float, exclude: Collection[str]) -> int:
    """Count the judgements that an export leaves out because of their confidence alone.

    Args:
        session: a session to read with.
        project: id of the project.
        min_confidence: confidence below which a judgement is left out.
        exclude: ids of annotators whose judgements are left out anyway.
    """
    statement = effective_judgements(JudgementRow).where(
        JudgementRow.item.in_(select(ItemRow.key).where(ItemRow.project == project, ItemRow.gold.is_(None))),
        JudgementRow.confidence < min_confidence,
        JudgementRow.annotator.not_in(exclude),
        ~JudgementRow.surplus,
    )
    return int(session.scalar(select(func.count()).select_from(statement.subquery())) or 0)


def has_anonymous_judgements(session: Session, project: str) -> bool:
    """Return whether a project has judgements of anonymous annotators: placeholders for unnamed ratings."""
    statement = (
        select(JudgementRow.sequence)
        .join(ItemRow, ItemRow.key == JudgementRow.item)
        .join(AnnotatorRow, AnnotatorRow.id == JudgementRow.annotator)
        .where(ItemRow.project == project, AnnotatorRow.kind == "anonymous")
        .limit(1)
    )
    return session.scalar(statement) is not None
