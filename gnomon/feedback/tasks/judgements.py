"""The judgements of a project as they stand, item by item: what no correction replaced and nobody withdrew.

Read in chunks within one snapshot of the database, so that a project of any size needs little memory and nothing
changes while it is read.
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
    decisions,
    standing,
    superseded,
)
from gnomon.feedback.store.store import Store, as_completion, as_prompt
from gnomon.feedback.task_types import verdict
from gnomon.stats.votes import Vote

CHUNK = 500  # items in memory at a time


@dataclass(frozen=True, slots=True)
class StoredJudgement:
    """A judgement that stands; see `JudgementRow`."""

    id: str
    annotator: str
    shown: tuple[str, ...]
    answer: Mapping[str, Any]
    reason: str
    confidence: float | None
    seconds: float | None
    at: float
    surplus: bool = False


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """An item with what was said of it.

    Attributes:
        completions: in the item's own order.
        gold: the right answer, in that order, where it is known.
        judgements: all that stand, surplus ones too, in the order in which they came.
        decided: what a reviewer decided in their place, if one did.
    """

    key: int
    prompt: Prompt
    completions: tuple[Completion, ...]
    gold: Mapping[str, Any] | None
    judgements: tuple[StoredJudgement, ...]
    decision: StoredJudgement | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the completions, in the item's own order."""
        return tuple(one.id for one in self.completions)

    @property
    def counted_judgements(self) -> tuple[StoredJudgement, ...]:
        """The judgements that count: all of a gold item, which wants as many as come, else those not surplus."""
        return tuple(one for one in self.judgements if self.gold is not None or not one.surplus)


@contextmanager
def snapshot(store: Store) -> Iterator[Session]:
    """A session that sees the store as it is when it is first read, whatever is written meanwhile."""
    with Session(store.engine) as session:
        if store.engine.dialect.name == "sqlite":
            session.connection().exec_driver_sql("BEGIN")
        else:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def judged_items(session: Session, project: str, *, without: Collection[str] = ()) -> Iterator[JudgedItem]:
    """All items of a project with their judgements, prompt by prompt, gold ones among them.

    Args:
        session: of a `snapshot`.
        project: its id.
        without: annotators whose judgements are passed over.
    """
    keys = list(
        session.scalars(
            select(ItemRow.key).where(ItemRow.project == project).order_by(ItemRow.prompt, ItemRow.key)
        )
    )
    for start in range(0, len(keys), CHUNK):
        yield from _chunk(session, keys[start : start + CHUNK], without)


def _chunk(session: Session, keys: list[int], without: Collection[str]) -> Iterator[JudgedItem]:
    items = session.execute(
        select(ItemRow.key, ItemRow.prompt, ItemRow.completions, ItemRow.gold)
        .where(ItemRow.key.in_(keys))
        .order_by(ItemRow.prompt, ItemRow.key)
    ).all()
    wanted = {key for row in items for key in row.completions}
    answers = session.execute(
        select(
            CompletionRow.key, CompletionRow.id, CompletionRow.text, CompletionRow.turns, CompletionRow.source
        ).where(CompletionRow.key.in_(wanted))
    ).all()
    completions = {row.key: as_completion(row) for row in answers}
    questions = session.execute(
        select(PromptRow.key, PromptRow.id, PromptRow.messages, PromptRow.answer).where(
            PromptRow.key.in_({row.prompt for row in items})
        )
    ).all()
    prompts = {row.key: as_prompt(row) for row in questions}
    judged = _spoken(session, keys, without)
    stands = {
        row.item: row
        for row in session.scalars(decisions(DecisionRow.item.in_(keys), DecisionRow.reviewer.not_in(without)))
    }
    for row in items:
        shown = tuple(completions[key] for key in row.completions)
        ids = tuple(one.id for one in shown)
        yield JudgedItem(
            row.key,
            prompts[row.prompt],
            shown,
            row.gold,
            tuple(judged[row.key]),
            _decided(stands.get(row.key), ids),
        )


def _spoken(session: Session, keys: list[int], without: Collection[str]) -> dict[int, list[StoredJudgement]]:
    """The judgements of items that stand, by item, in the order in which they came."""
    wanted = standing(JudgementRow).where(JudgementRow.item.in_(keys)).order_by(JudgementRow.sequence)
    found: dict[int, list[StoredJudgement]] = defaultdict(list)
    for row in session.scalars(wanted):
        if row.annotator in without:
            continue
        found[row.item].append(stored_judgement(row))
        session.expunge(row)
    return found


def stored_judgement(row: JudgementRow) -> StoredJudgement:
    """A row of the store as the rest of the export knows it."""
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


def _decided(row: DecisionRow | None, ids: tuple[str, ...]) -> StoredJudgement | None:
    """A decision as what somebody said who saw the completions in the item's own order."""
    if row is None:
        return None
    return StoredJudgement(row.id, row.reviewer, ids, row.answer, row.reason, None, None, row.created)


def item_votes(asked: JudgedItem) -> Iterator[Vote]:
    """The voices of an item as votes."""
    lengths = {one.id: len(one.text) for one in asked.completions}
    for said in asked.counted_judgements:
        yield judgement_vote(said, asked.key, asked.ids, lengths)


def judgement_vote(said: StoredJudgement, item: int, ids: Sequence[str], lengths: Mapping[str, int]) -> Vote:
    """A judgement as a vote: what it comes down to, with what statistics of people need.

    Args:
        said: the judgement.
        item: its item's number.
        ids: of the item's completions, in its own order.
        lengths: of completions, in characters, by id.
    """
    chosen = {"first": 0, "second": 1}.get(said.answer.get("choice", ""))
    other = None if chosen is None else said.shown[1 - chosen]
    return Vote(
        said.annotator,
        item,
        verdict(said.answer, said.shown, ids),
        said.at,
        said.seconds,
        None if chosen is None else chosen == 0,
        None if chosen is None else lengths[said.shown[chosen]],
        None if other is None else lengths[other],
        said.reason,
    )


def gold_label(asked: JudgedItem) -> Hashable | None:
    """The right label of an item, in its own order, where it is known."""
    return None if asked.gold is None else verdict(asked.gold, asked.ids, asked.ids)


def count_judgements(session: Session, project: str, annotators: Collection[str] | None) -> int:
    """How many judgements that would count are left out: of those who withdrew for `None`, else of these.

    Whoever is among these and withdrew is counted with those who withdrew.
    """
    gone = AnnotatorRow.state == "withdrawn"
    of_whom = gone if annotators is None else AnnotatorRow.id.in_(annotators) & ~gone
    wanted = (
        select(func.count())
        .select_from(JudgementRow)
        .join(ItemRow, ItemRow.key == JudgementRow.item)
        .join(AnnotatorRow, AnnotatorRow.id == JudgementRow.annotator)
        .where(ItemRow.project == project, ItemRow.gold.is_(None), of_whom, ~JudgementRow.surplus, ~superseded())
    )
    return int(session.scalar(wanted) or 0)


def has_anonymous_judgements(session: Session, project: str) -> bool:
    """Whether judgements of a project are of annotators who stand for nobody in particular."""
    wanted = (
        select(JudgementRow.sequence)
        .join(ItemRow, ItemRow.key == JudgementRow.item)
        .join(AnnotatorRow, AnnotatorRow.id == JudgementRow.annotator)
        .where(ItemRow.project == project, AnnotatorRow.kind == "anonymous")
        .limit(1)
    )
    return session.scalar(wanted) is not None
