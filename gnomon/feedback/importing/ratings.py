"""Ratings that were collected elsewhere, as judgements in the store: one transaction, row by row.

A text becomes a completion and an item of its own, which is asked no more. A rater who has a name is an annotator
of the project. Of ratings without names nobody knows who gave them: their annotators, of the kind `anonymous`,
stand for the first rating of each text, the second, and so on, and nothing that follows a person across texts may
be computed from them.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt, RatedText
from gnomon.data.reading.readers import scan_rows
from gnomon.data.reading.records import EXPECTED, parse_record
from gnomon.data.reading.row_fields import KeysRead, TrackedRow
from gnomon.feedback.store.ingest import IngestCounts, add_completions, add_items, add_prompts
from gnomon.feedback.store.resolution import resolve_item
from gnomon.feedback.store.schema import AnnotatorRow, CompletionRow, ItemRow, JudgementRow, ProjectRow
from gnomon.feedback.store.store import BankPrompt, Project, Store, existing
from gnomon.feedback.task_types import SCALES, setup_of

CHUNK = 1000  # rows in memory at a time


@dataclass(frozen=True)
class Rating:
    """One rating of a completion on its way into the store."""

    completion: str
    annotator: str
    value: float


def scan_ratings(
    path: Path, prompt: Prompt | None, keys: KeysRead | None = None
) -> Iterator[tuple[str, RatedText]]:
    """The rows of a file of ratings, each with where it stands.

    Args:
        path: rows of a text with its `ratings`, or with one `rating` (or `value`); see `data.records`.
        prompt: what texts answer that have none of their own.
        keys: where to note which keys the rows hold, and which were read.

    Raises:
        DataError: a row is wrong, a text has no prompt, or there are no rows.
    """
    empty, keys = True, KeysRead() if keys is None else keys
    for where, row in scan_rows(path):
        empty = False
        if isinstance(row, DataError):
            raise row
        try:
            found = parse_record(RatedText, TrackedRow(row, keys))
            if found.prompt is None and prompt is None:
                raise DataError("the text has no prompt; give all such texts one with --prompt")
        except DataError as error:
            raise DataError(f"{path}, {where}: {str(error).rstrip('.')}; {EXPECTED[RatedText]}") from None
        yield f"{path}, {where}", replace(found, prompt=found.prompt or prompt)
    if empty:
        raise DataError(f"{path} holds no rows; {EXPECTED[RatedText]}")


def import_ratings(
    store: Store, project: Project, rows: Iterable[tuple[str, RatedText]], source: str, *, new: bool = False
) -> IngestCounts:
    """Add texts and the judgements that ratings are; what is there already is not added again.

    A rater's other rating of the same text corrects the former.

    Args:
        store: where the project is.
        project: one that scores, on one criterion.
        rows: each with where it stands, and with a prompt.
        source: what the texts came from; ratings without names are told apart by it.
        new: the project is made, too.

    Returns:
        How many judgements were added, and how many were there.

    Raises:
        DataError: the project does not score, or a rating is not on its scale; then nothing is added.
    """
    setup = setup_of(project.settings)
    criteria = setup.criteria_of(project.task)
    if len(criteria) != 1:
        raise DataError(
            f"ratings need a project that scores on one criterion, and '{project.id}' is not; give another id."
        )
    scale = setup.scale or SCALES[project.task]
    names = _Names(project.id, source)
    added = known = 0
    with store.writing() as session:
        if new:
            store.add_project(project, within=session)
        for chunk in _chunks(_checked(rows, scale)):
            found = _chunk(store, session, project, criteria[0], chunk, names)
            added, known = added + found.added, known + found.known
    return IngestCounts(added, known)


class _Names:
    """Who gave a rating: by name, or by its place among those of a text that have none."""

    def __init__(self, project: str, source: str):
        self.project, self.source = project, source
        self.unnamed: Counter[str] = Counter()
        self.known: dict[str, str] = {}

    def of(self, completion: str, rater: str) -> tuple[str, str, str]:
        """The annotator's id, name and kind."""
        if rater:
            return digest([self.project, rater])[:16], rater, "person"
        place = self.unnamed[completion]
        self.unnamed[completion] += 1
        name = f"{self.source} r{place:02d}"
        return digest([self.project, self.source, place])[:16], name, "anonymous"


def _chunk(
    store: Store, session: Session, project: Project, criterion: str, rows: list[RatedText], names: _Names
) -> IngestCounts:
    """Add some rows: their prompts, texts, items, annotators and judgements."""
    prompts = {row.prompt.id: row.prompt for row in rows if row.prompt}
    asked = add_prompts(store, project.id, [BankPrompt(one) for one in prompts.values()], within=session).ids
    texts: list[tuple[str, Completion, dict[str, Any]]] = [
        (asked[row.prompt.id], Completion(row.id, row.text), {}) for row in rows if row.prompt
    ]
    before = session.scalar(select(ItemRow.key).order_by(ItemRow.key.desc()).limit(1)) or 0
    ids = add_completions(store, project.id, texts, within=session).ids
    add_items(store, project.id, [[one] for one in dict.fromkeys(ids[row.id] for row in rows)], within=session)
    items = _items(session, project.id, set(ids.values()))
    for item in items.values():
        if item.key > before:
            item.open_to_humans, item.state = False, "closed"
    ratings = list(_ratings(session, rows, ids, names))
    return _judge(session, project.id, items, ratings, criterion)


def _ratings(session: Session, rows: list[RatedText], ids: Mapping[str, str], names: _Names) -> Iterator[Rating]:
    """Each rating by its annotator, who is added if there is none of that id."""
    for row in rows:
        for rater, value in zip(row.raters or ("",) * len(row.ratings), row.ratings, strict=True):
            who, name, kind = names.of(ids[row.id], rater)
            if who not in names.known:
                names.known[who] = name
                if session.get(AnnotatorRow, who) is None:
                    session.add(AnnotatorRow(id=who, name=name, kind=kind, created=time.time()))
                    session.flush()
            yield Rating(ids[row.id], who, value)


def _judge(
    session: Session, project: str, items: Mapping[str, ItemRow], ratings: Iterable[Rating], criterion: str
) -> IngestCounts:
    """Add judgements, as corrections where their annotator judged the item before, and settle what is asked."""
    keys = [item.key for item in items.values()]
    asked = ItemRow.key.in_(keys), ItemRow.state.not_in(("closed", "gold"))
    # Locked before anything is added to them: two who first add and then lock might wait for each other.
    touched = session.scalars(select(ItemRow).where(*asked).order_by(ItemRow.key).with_for_update()).all()
    last: dict[tuple[int, str], str] = {}
    said: dict[tuple[int, str], list[float]] = defaultdict(list)
    past = select(JudgementRow.id, JudgementRow.item, JudgementRow.annotator, JudgementRow.answer)
    for row in session.execute(past.where(JudgementRow.item.in_(keys)).order_by(JudgementRow.sequence)):
        last[row.item, row.annotator] = row.id
        said[row.item, row.annotator].append(row.answer["scores"][0][criterion])
    brought: dict[tuple[int, str], list[Rating]] = defaultdict(list)
    for one in ratings:
        brought[items[one.completion].key, one.annotator].append(one)
    added = known = 0
    for (item, annotator), theirs in brought.items():
        past_values = said[item, annotator]
        fresh = [one for n, one in enumerate(theirs) if n == 0 or one.value != theirs[n - 1].value]
        if past_values[-len(fresh) :] == [one.value for one in fresh]:
            fresh = []  # the same file again
        elif past_values and fresh[0].value == past_values[-1]:
            fresh = fresh[1:]
        known += len(theirs) - len(fresh)
        added += len(fresh)
        for one in fresh:
            former = last.get((item, annotator))
            value = int(one.value) if one.value == int(one.value) else one.value
            name = digest([item, annotator, former, value])[:32]
            session.add(
                JudgementRow(
                    id=name,
                    item=item,
                    annotator=annotator,
                    shown=[one.completion],
                    answer={"scores": [{criterion: value}]},
                    supersedes=former,
                    created=time.time(),
                )
            )
            last[item, annotator] = name
    session.flush()
    for open_item in touched:
        resolve_item(session, open_item, existing(session.get(ProjectRow, project), "project", project))
    session.flush()
    session.expunge_all()
    return IngestCounts(added, known)


def _items(session: Session, project: str, completions: set[str]) -> dict[str, ItemRow]:
    """The items of single completions, by the completion's id."""
    wanted = select(CompletionRow.key, CompletionRow.id).where(
        CompletionRow.project == project, CompletionRow.id.in_(completions)
    )
    marks = {digest([row.key]): row.id for row in session.execute(wanted)}
    found = select(ItemRow).where(ItemRow.project == project, ItemRow.digest.in_(marks))
    return {marks[item.digest]: item for item in session.scalars(found)}


def _checked(rows: Iterable[tuple[str, RatedText]], scale: tuple[float, float]) -> Iterator[RatedText]:
    """The rows, as long as every rating is on the scale."""
    low, high = scale
    for where, row in rows:
        wrong = next((value for value in row.ratings if not low <= value <= high), None)
        if wrong is not None:
            raise DataError(
                f"{where}: the rating {wrong:g} is not in {low:g} to {high:g}; mend it, or import into a new "
                "project with --scale LOW,HIGH."
            )
        yield row


def _chunks(rows: Iterable[RatedText]) -> Iterator[list[RatedText]]:
    waiting = iter(rows)
    while chunk := list(itertools.islice(waiting, CHUNK)):
        yield chunk
