"""Add prompts, completions and items to a project; duplicates are detected by digests and not stored twice."""

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
from gnomon.data.reading.messages import context_row, message_row
from gnomon.feedback.requirements import Requirement
from gnomon.feedback.store.schema import CompletionRow, ItemRow, ProjectRow, PromptRow, RequirementRow
from gnomon.feedback.store.store import BankPrompt, Store, require
from gnomon.feedback.visible_text import check_shown

CHUNK = 500  # rows per flush to the database


@dataclass(frozen=True)
class IngestCounts:
    """Numbers of rows that were added and that the store already had.

    Attributes:
        added: rows that were added.
        known: rows that the store already had.
        ids: the id in the store for each given id; they differ where the store has the same row under another id.
    """

    added: int = 0
    known: int = 0
    ids: dict[str, str] = field(default_factory=dict, compare=False)


def add_prompts(
    store: Store, project: str, prompts: Iterable[BankPrompt], *, within: Session | None = None
) -> IngestCounts:
    """Add prompts to a project's prompt bank; prompts with the same messages and tools are one.

    Args:
        store: the feedback store.
        project: id of the project.
        prompts: prompts with category, tags and value.
        within: session of a running transaction to join.

    Raises:
        DataError: there is no such project, an id belongs to another prompt, or a prompt has media, which
            annotators do not see; then nothing is added.
    """
    with store.writing(within) as session:
        require(session.get(ProjectRow, project), "project", project)
        rows = session.execute(select(PromptRow.id, PromptRow.digest).where(PromptRow.project == project)).all()
        by_id, by_digest, ids = {r.id: r.digest for r in rows}, {r.digest: r.id for r in rows}, {}
        known_keys = requirement_keys(session, project)
        added = known = 0
        for entry in prompts:
            check_shown(entry.prompt)
            id, messages = entry.prompt.id, list(map(message_row, entry.prompt.messages))
            context = context_row(entry.prompt) or None
            prompt_digest = digest(messages if context is None else [messages, context])
            if by_id.get(id, prompt_digest) != prompt_digest:
                raise DataError(f"prompt id '{id}' belongs to another prompt in the store; use another id.")
            ids[id] = by_digest.setdefault(prompt_digest, id)
            if ids[id] != id or id in by_id:
                known += 1
                continue
            by_id[id] = prompt_digest
            added += 1
            session.add(
                PromptRow(
                    project=project,
                    id=id,
                    messages=messages,
                    context=context,
                    answer=entry.prompt.answer,
                    digest=prompt_digest,
                    category=entry.category,
                    tags=list(entry.tags),
                    value=entry.value,
                    edge=entry.edge,
                    requirement=add_requirement(session, project, entry.requirement, known_keys),
                    created=time.time(),
                )
            )
            _flush_every_chunk(session, added)
    return IngestCounts(added, known, ids)


def add_requirement(
    session: Session, project: str, requirement: Requirement, known_keys: set[str] | None = None
) -> str | None:
    """Add a requirement to a project unless it has it; return its key, `None` if nothing is required.

    Args:
        session: a transaction.
        project: id of the project.
        requirement: the requirement.
        known_keys: keys that the project has, to which the key is added; `None` reads the database.
    """
    key = requirement.key
    known_keys = requirement_keys(session, project) if known_keys is None else known_keys
    if key is not None and key not in known_keys:
        known_keys.add(key)
        session.add(
            RequirementRow(
                project=project,
                key=key,
                language=requirement.language,
                domain=requirement.domain,
                skills=list(requirement.skills),
            )
        )
    return key


def requirement_keys(session: Session, project: str) -> set[str]:
    """Return the keys of a project's requirements."""
    return set(session.scalars(select(RequirementRow.key).where(RequirementRow.project == project)))


def add_completions(
    store: Store,
    project: str,
    completions: Iterable[tuple[str, Completion, dict[str, Any]]],
    *,
    within: Session | None = None,
) -> IngestCounts:
    """Add completions of prompts; equal completions of a prompt are one.

    Args:
        store: the feedback store.
        project: id of the project.
        completions: (id of the prompt, completion, details of its generation) each.
        within: session of a running transaction to join.

    Raises:
        DataError: a prompt is not in the bank, or an id belongs to another completion; then nothing is added.
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
        used_ids, by_digest, ids = {r.id for r in rows}, {(r.prompt, r.digest): r.id for r in rows}, {}
        added = known = 0
        for prompt, completion, generation in completions:
            check_shown(None, [completion])
            key = require(prompts.get(prompt), "prompt", prompt)
            turns = None if completion.turns is None else list(map(message_row, completion.turns))
            completion_digest = digest(completion.text if turns is None else turns)
            if (key, completion_digest) in by_digest:
                ids[completion.id] = by_digest[key, completion_digest]
                known += 1
                continue
            if completion.id in used_ids:
                raise DataError(
                    f"completion id '{completion.id}' belongs to another completion in the store; use another id."
                )
            used_ids.add(completion.id)
            ids[completion.id] = by_digest[key, completion_digest] = completion.id
            added += 1
            session.add(
                CompletionRow(
                    project=project,
                    prompt=key,
                    id=completion.id,
                    text=completion.text,
                    turns=turns,
                    digest=completion_digest,
                    source=completion.source,
                    generation=generation,
                    created=time.time(),
                )
            )
            _flush_every_chunk(session, added)
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
    """Add items to judge, each of one or more completions of one prompt.

    Args:
        store: the feedback store.
        project: id of the project.
        items: completion ids of each item.
        priorities: priority of each item; items with higher ones are assigned first. By default 0.
        gold: the correct answer, if the items are gold items.
        within: session of a running transaction to join.

    Raises:
        DataError: a completion is not in the store, occurs twice in an item, or the completions of an item are of
            different prompts; then nothing is added.
    """
    with store.writing(within) as session:
        row = require(session.get(ProjectRow, project), "project", project)
        rows = session.execute(
            select(CompletionRow.id, CompletionRow.key, CompletionRow.prompt).where(
                CompletionRow.project == project
            )
        ).all()
        by_id = {r.id: (r.key, r.prompt) for r in rows}
        digests = set(session.scalars(select(ItemRow.digest).where(ItemRow.project == project)))
        required = select(PromptRow.key, PromptRow.requirement).where(
            PromptRow.project == project, PromptRow.requirement.is_not(None)
        )
        requirements: dict[int, str] = {r.key: r.requirement for r in session.execute(required).all()}
        added = known = 0
        for ids, priority in _with_priorities(items, priorities):
            members = [require(by_id.get(name), "completion", name) for name in ids]
            keys, prompts = [key for key, _ in members], {prompt for _, prompt in members}
            if len(set(keys)) != len(keys) or len(prompts) != 1:
                raise DataError(
                    f"the item of {', '.join(ids)} needs different completions of one prompt; correct its ids."
                )
            item_digest = digest(sorted(keys))
            if item_digest in digests:
                known += 1
                continue
            digests.add(item_digest)
            added += 1
            prompt = prompts.pop()
            session.add(
                ItemRow(
                    project=project,
                    prompt=prompt,
                    completions=keys,
                    digest=item_digest,
                    target_votes=row.votes_per_item,
                    priority=priority,
                    gold=gold,
                    state="open" if gold is None else "gold",
                    requirement=requirements.get(prompt),
                    created=time.time(),
                )
            )
            _flush_every_chunk(session, added)
    return IngestCounts(added, known)


def add_prompt_items(
    store: Store, project: str, prompts: Iterable[str], *, within: Session | None = None
) -> IngestCounts:
    """Add items without completions, whose answers annotators write: one for each prompt.

    Args:
        store: the feedback store.
        project: id of a project of demonstrations.
        prompts: ids of prompts of the bank.
        within: session of a running transaction to join.

    Raises:
        DataError: a prompt is not in the bank; then nothing is added.
    """
    with store.writing(within) as session:
        row = require(session.get(ProjectRow, project), "project", project)
        columns = select(PromptRow.id, PromptRow.key, PromptRow.requirement).where(PromptRow.project == project)
        by_id = {r.id: (r.key, r.requirement) for r in session.execute(columns).all()}
        digests = set(session.scalars(select(ItemRow.digest).where(ItemRow.project == project)))
        added = known = 0
        for name in prompts:
            key, needed = require(by_id.get(name), "prompt", name)
            item_digest = digest({"prompt": key})
            if item_digest in digests:
                known += 1
                continue
            digests.add(item_digest)
            added += 1
            session.add(
                ItemRow(
                    project=project,
                    prompt=key,
                    completions=[],
                    digest=item_digest,
                    target_votes=row.votes_per_item,
                    requirement=needed,
                    created=time.time(),
                )
            )
            _flush_every_chunk(session, added)
    return IngestCounts(added, known)


def _with_priorities(
    items: Iterable[Sequence[str]], priorities: Iterable[float] | None
) -> Iterator[tuple[Sequence[str], float]]:
    """Pair items with their priorities, or with 0."""
    if priorities is None:
        return ((ids, 0.0) for ids in items)
    return zip(items, priorities, strict=True)


def _flush_every_chunk(session: Session, added: int) -> None:
    """Send the added rows to the database after each `CHUNK`, and free their memory."""
    if added % CHUNK == 0:
        session.flush()
        session.expunge_all()
