"""What a project asks about, on its way into the store: prompts, completions and items, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion
from gnomon.data.reading.messages import message_row
from gnomon.feedback.store.schema import CompletionRow, ItemRow, ProjectRow, PromptRow
from gnomon.feedback.store.store import BankPrompt, Store, existing

CHUNK = 500  # rows written at once


@dataclass(frozen=True)
class IngestCounts:
    """How many of some rows were added, and how many were there already.

    Attributes:
        ids: what each row's id is in the store: another, where the same was there under another.
    """

    added: int = 0
    known: int = 0
    ids: dict[str, str] = field(default_factory=dict, compare=False)


def add_prompts(
    store: Store, project: str, prompts: Iterable[BankPrompt], *, within: Session | None = None
) -> IngestCounts:
    """Add prompts that the bank does not hold; two that say the same are one.

    Raises:
        DataError: an id stands for another prompt; then nothing is added.
    """
    with store.writing(within) as session:
        existing(session.get(ProjectRow, project), "project", project)
        rows = session.execute(select(PromptRow.id, PromptRow.digest).where(PromptRow.project == project)).all()
        by_id, said, ids = {r.id: r.digest for r in rows}, {r.digest: r.id for r in rows}, {}
        added = known = 0
        for one in prompts:
            messages = list(map(message_row, one.prompt.messages))
            mark = digest(messages)
            if by_id.get(one.prompt.id, mark) != mark:
                raise DataError(f"prompt id '{one.prompt.id}' is of another prompt in the store; give another.")
            ids[one.prompt.id] = said.setdefault(mark, one.prompt.id)
            if ids[one.prompt.id] != one.prompt.id or one.prompt.id in by_id:
                known += 1
                continue
            by_id[one.prompt.id] = mark
            added += 1
            session.add(
                PromptRow(
                    project=project,
                    id=one.prompt.id,
                    messages=messages,
                    answer=one.prompt.answer,
                    digest=mark,
                    category=one.category,
                    tags=list(one.tags),
                    value=one.value,
                    edge=one.edge,
                    created=time.time(),
                )
            )
            _let_go(session, added)
    return IngestCounts(added, known, ids)


def add_completions(
    store: Store,
    project: str,
    answers: Iterable[tuple[str, Completion, dict[str, Any]]],
    *,
    within: Session | None = None,
) -> IngestCounts:
    """Add answers: a prompt's id, the completion, and how it was made; equal ones of a prompt are one.

    Raises:
        DataError: a prompt is not in the bank, or an id stands for another text; then nothing is added.
    """
    with store.writing(within) as session:
        prompts = {
            r.id: r.key
            for r in session.execute(
                select(PromptRow.id, PromptRow.key).where(PromptRow.project == project)
            ).all()
        }
        rows = session.execute(
            select(CompletionRow.id, CompletionRow.prompt, CompletionRow.digest).where(
                CompletionRow.project == project
            )
        ).all()
        taken, said, ids = {r.id for r in rows}, {(r.prompt, r.digest): r.id for r in rows}, {}
        added = known = 0
        for prompt, completion, made in answers:
            key = existing(prompts.get(prompt), "prompt", prompt)
            turns = None if completion.turns is None else list(map(message_row, completion.turns))
            mark = digest(completion.text if turns is None else turns)
            if (key, mark) in said:
                ids[completion.id] = said[key, mark]
                known += 1
                continue
            if completion.id in taken:
                raise DataError(f"completion id '{completion.id}' is of another text in the store; give another.")
            taken.add(completion.id)
            ids[completion.id] = said[key, mark] = completion.id
            added += 1
            session.add(
                CompletionRow(
                    project=project,
                    prompt=key,
                    id=completion.id,
                    text=completion.text,
                    turns=turns,
                    digest=mark,
                    source=completion.source,
                    made=made,
                    created=time.time(),
                )
            )
            _let_go(session, added)
    return IngestCounts(added, known, ids)


def add_items(
    store: Store,
    project: str,
    items: Iterable[Sequence[str]],
    *,
    priorities: Iterable[float] | None = None,
    gold: dict[str, Any] | None = None,
    within: Session | None = None,
) -> IngestCounts:
    """Add questions: the ids of the completions that one compares, all of one prompt.

    Args:
        store: with the completions.
        project: its id.
        items: the ids of each.
        priorities: of each; those with the greatest are asked first. `None`: 0 for all.
        gold: the right answer, where it is known.
        within: a transaction to be part of.

    Raises:
        DataError: a completion is not in the store, one stands twice, or they answer different prompts.
    """
    with store.writing(within) as session:
        found = existing(session.get(ProjectRow, project), "project", project)
        rows = session.execute(
            select(CompletionRow.id, CompletionRow.key, CompletionRow.prompt).where(
                CompletionRow.project == project
            )
        ).all()
        known_as = {r.id: (r.key, r.prompt) for r in rows}
        there = set(session.scalars(select(ItemRow.digest).where(ItemRow.project == project)))
        added = known = 0
        for ids, priority in _with_priorities(items, priorities):
            places = [existing(known_as.get(name), "completion", name) for name in ids]
            if len({key for key, _ in places}) != len(places) or len({p for _, p in places}) != 1:
                raise DataError(
                    f"the item of {', '.join(ids)} needs different completions of one prompt; mend it."
                )
            mark = digest(sorted(key for key, _ in places))
            if mark in there:
                known += 1
                continue
            there.add(mark)
            added += 1
            session.add(
                ItemRow(
                    project=project,
                    prompt=places[0][1],
                    completions=[key for key, _ in places],
                    digest=mark,
                    target_votes=found.votes_per_item,
                    priority=priority,
                    gold=gold,
                    state="open" if gold is None else "gold",
                    created=time.time(),
                )
            )
            _let_go(session, added)
    return IngestCounts(added, known)


def _with_priorities(
    items: Iterable[Sequence[str]], priorities: Iterable[float] | None
) -> Iterator[tuple[Sequence[str], float]]:
    if priorities is None:
        return ((ids, 0.0) for ids in items)
    return zip(items, priorities, strict=True)


def _let_go(session: Session, added: int) -> None:
    """Send what was added to the database every so often, and keep none of it in memory."""
    if added % CHUNK == 0:
        session.flush()
        session.expunge_all()
