"""Judgements that were collected elsewhere as rows of the store: annotators, corrections, resolution."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gnomon.core.storage.digests import digest
from gnomon.feedback.store.ingest import IngestCounts
from gnomon.feedback.store.resolution import resolve_item
from gnomon.feedback.store.schema import AnnotatorRow, CompletionRow, ItemRow, JudgementRow, ProjectRow
from gnomon.feedback.store.store import require
from gnomon.feedback.task_types import full_label

ItemKey = tuple[str, ...]  # the ids of an item's completions


@dataclass(frozen=True)
class ImportedJudgement:
    """One annotator's judgement of an item.

    Attributes:
        shown: ids of the item's completions, in the order of the file.
        annotator: id of the annotator.
        answer: as `task_types.check_answer` returns it; indices refer to `shown`.
    """

    shown: ItemKey
    annotator: str
    answer: dict[str, Any]

    @property
    def label(self) -> Hashable:
        """The answer in an order that does not depend on the file's."""
        return full_label(self.answer, self.shown, sorted(self.shown))


class ImportedAnnotators:
    """Assigns judgements to annotators: by name, or by their position among an item's anonymous judgements.

    Args:
        session: a transaction.
        project: id of the project.
        source: name of the data; distinguishes anonymous judgements of different files.
    """

    def __init__(self, session: Session, project: str, source: str):
        self.session, self.project, self.source = session, project, source
        self.unnamed: Counter[ItemKey] = Counter()
        self.known: set[str] = set()

    def id_of(self, item: ItemKey, name: str) -> str:
        """Return the id of an annotator, who is added if unknown; without a name, that of a placeholder."""
        kind, own = "person", digest([self.project, name])[:16]
        if not name:
            position = self.unnamed[item]
            self.unnamed[item] += 1
            kind, own = "anonymous", digest([self.project, self.source, position])[:16]
            name = f"{self.source} r{position:02d}"
        if own not in self.known:
            self.known.add(own)
            if self.session.get(AnnotatorRow, own) is None:
                self.session.add(AnnotatorRow(id=own, name=name, kind=kind, created=time.time()))
                self.session.flush()
        return own


def items_of(session: Session, project: str, groups: Collection[ItemKey]) -> dict[ItemKey, ItemRow]:
    """Return the items of groups of completions.

    Args:
        session: a transaction.
        project: id of the project.
        groups: ids of the completions of each item.
    """
    ids = {name for group in groups for name in group}
    query = select(CompletionRow.id, CompletionRow.key).where(
        CompletionRow.project == project, CompletionRow.id.in_(ids)
    )
    keys = {row.id: row.key for row in session.execute(query)}
    by_digest = {digest(sorted(keys[name] for name in group)): group for group in groups}
    items = session.scalars(select(ItemRow).where(ItemRow.project == project, ItemRow.digest.in_(by_digest)))
    own = {item.digest: item for item in items}
    return {group: own[digest(sorted(keys[name] for name in group))] for group in groups}


def last_item(session: Session) -> int:
    """Return the key of the newest item of the store; 0 if there is none."""
    return session.scalar(select(ItemRow.key).order_by(ItemRow.key.desc()).limit(1)) or 0


def close_items(items: Iterable[ItemRow], after: int) -> None:
    """Close the items that were added after another one for annotators: they came with their judgements."""
    for item in items:
        if item.key > after:
            item.open_to_humans, item.state = False, "closed"


def add_judgements(
    session: Session, project: str, items: Mapping[ItemKey, ItemRow], judgements: Iterable[ImportedJudgement]
) -> IngestCounts:
    """Add judgements, as corrections of the annotator's earlier ones, and resolve the open items.

    Args:
        session: a transaction.
        project: id of the project.
        items: the items of the judgements, by the ids of their completions.
        judgements: to add; those that the store has already are not added again.
    """
    keys = [item.key for item in items.values()]
    still_open = ItemRow.key.in_(keys), ItemRow.state.not_in(("closed", "gold"))
    # Locked before anything is added: two processes that add first and lock later could deadlock.
    open_items = session.scalars(select(ItemRow).where(*still_open).order_by(ItemRow.key).with_for_update()).all()
    last: dict[tuple[int, str], str] = {}
    labels: dict[tuple[int, str], list[Hashable]] = defaultdict(list)
    columns = (
        JudgementRow.id,
        JudgementRow.item,
        JudgementRow.annotator,
        JudgementRow.answer,
        JudgementRow.shown,
    )
    for row in session.execute(
        select(*columns).where(JudgementRow.item.in_(keys)).order_by(JudgementRow.sequence)
    ):
        last[row.item, row.annotator] = row.id
        labels[row.item, row.annotator].append(full_label(row.answer, row.shown, sorted(row.shown)))
    imported: dict[tuple[int, str], list[ImportedJudgement]] = defaultdict(list)
    for one in judgements:
        imported[items[one.shown].key, one.annotator].append(one)
    added = known = 0
    for (item, annotator), all_of_file in imported.items():
        fresh = _fresh(labels[item, annotator], all_of_file)
        known += len(all_of_file) - len(fresh)
        added += len(fresh)
        for one in fresh:
            former = last.get((item, annotator))
            name = digest([item, annotator, former, list(one.shown), one.answer])[:32]
            session.add(
                JudgementRow(
                    id=name,
                    item=item,
                    annotator=annotator,
                    shown=list(one.shown),
                    answer=one.answer,
                    supersedes=former,
                    created=time.time(),
                )
            )
            last[item, annotator] = name
    session.flush()
    for open_item in open_items:
        resolve_item(session, open_item, require(session.get(ProjectRow, project), "project", project))
    session.flush()
    session.expunge_all()
    return IngestCounts(added, known)


def _fresh(earlier: list[Hashable], imported: list[ImportedJudgement]) -> list[ImportedJudgement]:
    """Return an annotator's judgements of an item that change something, or none if it is the same file again."""
    fresh = [one for n, one in enumerate(imported) if n == 0 or one.label != imported[n - 1].label]
    if earlier[-len(fresh) :] == [one.label for one in fresh]:
        return []
    return fresh[1:] if earlier and fresh[0].label == earlier[-1] else fresh
