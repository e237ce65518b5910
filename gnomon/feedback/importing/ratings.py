"""Imports ratings that were collected elsewhere as judgements, row by row in one transaction.

A text becomes a completion and an item of its own, which is closed for annotators. A named rater becomes an
annotator of the project. For ratings without names the raters are unknown: annotators of the kind `anonymous`
stand for the first rating of each text, the second, and so on; statistics that follow a person across texts must
not use them.
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
from gnomon.data.reading.row_fields import KeysRead, TrackedRow
from gnomon.data.records import EXPECTED, parse_record
from gnomon.feedback.store.ingest import IngestCounts, add_completions, add_items, add_prompts
from gnomon.feedback.store.resolution import resolve_item
from gnomon.feedback.store.schema import AnnotatorRow, CompletionRow, ItemRow, JudgementRow, ProjectRow
from gnomon.feedback.store.store import BankPrompt, Project, Store, require
from gnomon.feedback.task_types import SCALES, setup_of

CHUNK = 1000  # rows in memory at a time


@dataclass(frozen=True)
class Rating:
    """One rating of a completion, by the ids of completion and annotator."""

    completion: str
    annotator: str
    value: float


def scan_ratings(
    path: Path, prompt: Prompt | None, keys: KeysRead | None = None
) -> Iterator[tuple[str, RatedText]]:
    """Yield the rows of a file of ratings, each with its location.

    Args:
        path: rows with a text and its `ratings`, or one `rating` (or `value`); see `data.records`.
        prompt: prompt of texts that have none.
        keys: records the keys that the rows have and those that were read.

    Raises:
        DataError: a row is invalid, a text has no prompt, or there are no rows.
    """
    empty, keys = True, KeysRead() if keys is None else keys
    for where, row in scan_rows(path):
        empty = False
        if isinstance(row, DataError):
            raise row
        try:
            rated_text = parse_record(RatedText, TrackedRow(row, keys))
            if rated_text.prompt is None and prompt is None:
                raise DataError("the text has no prompt; give all such texts one with --prompt")
        except DataError as error:
            raise DataError(f"{path}, {where}: {str(error).rstrip('.')}; {EXPECTED[RatedText]}") from None
        yield f"{path}, {where}", replace(rated_text, prompt=rated_text.prompt or prompt)
    if empty:
        raise DataError(f"{path} holds no rows; {EXPECTED[RatedText]}")


def import_ratings(
    store: Store, project: Project, rows: Iterable[tuple[str, RatedText]], source: str, *, new: bool = False
) -> IngestCounts:
    """Add texts and their ratings as judgements, each only if the project does not have it.

    A rater's second rating of the same text corrects the first.

    Args:
        store: database of the project.
        project: project that scores one criterion.
        rows: rated texts with a prompt, each with its location.
        source: name of the data; distinguishes anonymous ratings of different files.
        new: create the project too.

    Returns:
        Number of added and of known judgements.

    Raises:
        DataError: the project does not score, or a rating is not on its scale; nothing is added.
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
            counts = _chunk(store, session, project, criteria[0], chunk, names)
            added, known = added + counts.added, known + counts.known
    return IngestCounts(added, known)


class _Names:
    """Assigns ratings to annotators: by name, or by their position among a text's anonymous ratings."""

    def __init__(self, project: str, source: str):
        self.project, self.source = project, source
        self.unnamed: Counter[str] = Counter()
        self.known: dict[str, str] = {}

    def of(self, completion: str, rater: str) -> tuple[str, str, str]:
        """The annotator's id, name and kind."""
        if rater:
            return digest([self.project, rater])[:16], rater, "person"
        position = self.unnamed[completion]
        self.unnamed[completion] += 1
        name = f"{self.source} r{position:02d}"
        return digest([self.project, self.source, position])[:16], name, "anonymous"


def _chunk(
    store: Store, session: Session, project: Project, criterion: str, rows: list[RatedText], names: _Names
) -> IngestCounts:
    """Add some rows: prompts, texts, items, annotators and judgements."""
    prompts = {row.prompt.id: row.prompt for row in rows if row.prompt}
    prompt_ids = add_prompts(store, project.id, [BankPrompt(one) for one in prompts.values()], within=session).ids
    texts: list[tuple[str, Completion, dict[str, Any]]] = [
        (prompt_ids[row.prompt.id], Completion(row.id, row.text), {}) for row in rows if row.prompt
    ]
    before = session.scalar(select(ItemRow.key).order_by(ItemRow.key.desc()).limit(1)) or 0
    ids = add_completions(store, project.id, texts, within=session).ids
    add_items(store, project.id, [[one] for one in dict.fromkeys(ids[row.id] for row in rows)], within=session)
    items = _items(session, project.id, set(ids.values()))
    for item in items.values():
        if item.key > before:
            item.open_to_humans, item.state = False, "closed"
    ratings = list(_ratings(session, rows, ids, names))
    return _add_judgements(session, project.id, items, ratings, criterion)


def _ratings(session: Session, rows: list[RatedText], ids: Mapping[str, str], names: _Names) -> Iterator[Rating]:
    """Yield each rating with its annotator, who is added if unknown."""
    for row in rows:
        for rater, value in zip(row.raters or ("",) * len(row.ratings), row.ratings, strict=True):
            annotator, name, kind = names.of(ids[row.id], rater)
            if annotator not in names.known:
                names.known[annotator] = name
                if session.get(AnnotatorRow, annotator) is None:
                    session.add(AnnotatorRow(id=annotator, name=name, kind=kind, created=time.time()))
                    session.flush()
            yield Rating(ids[row.id], annotator, value)


def _add_judgements(
    session: Session, project: str, items: Mapping[str, ItemRow], ratings: Iterable[Rating], criterion: str
) -> IngestCounts:
    """Add judgements, as corrections of the annotator's earlier ones, and resolve the open items."""
    keys = [item.key for item in items.values()]
    still_open = ItemRow.key.in_(keys), ItemRow.state.not_in(("closed", "gold"))
    # Locked before anything is added: two processes that add first and lock later could deadlock.
    open_items = session.scalars(select(ItemRow).where(*still_open).order_by(ItemRow.key).with_for_update()).all()
    last: dict[tuple[int, str], str] = {}
    values: dict[tuple[int, str], list[float]] = defaultdict(list)
    query = select(JudgementRow.id, JudgementRow.item, JudgementRow.annotator, JudgementRow.answer)
    for row in session.execute(query.where(JudgementRow.item.in_(keys)).order_by(JudgementRow.sequence)):
        last[row.item, row.annotator] = row.id
        values[row.item, row.annotator].append(row.answer["scores"][0][criterion])
    imported: dict[tuple[int, str], list[Rating]] = defaultdict(list)
    for one in ratings:
        imported[items[one.completion].key, one.annotator].append(one)
    added = known = 0
    for (item, annotator), new_ratings in imported.items():
        earlier = values[item, annotator]
        fresh = [one for n, one in enumerate(new_ratings) if n == 0 or one.value != new_ratings[n - 1].value]
        if earlier[-len(fresh) :] == [one.value for one in fresh]:
            fresh = []  # the same file again
        elif earlier and fresh[0].value == earlier[-1]:
            fresh = fresh[1:]
        known += len(new_ratings) - len(fresh)
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
    for open_item in open_items:
        resolve_item(session, open_item, require(session.get(ProjectRow, project), "project", project))
    session.flush()
    session.expunge_all()
    return IngestCounts(added, known)


def _items(session: Session, project: str, completions: set[str]) -> dict[str, ItemRow]:
    """The items of single completions, by completion id."""
    completions_query = select(CompletionRow.key, CompletionRow.id).where(
        CompletionRow.project == project, CompletionRow.id.in_(completions)
    )
    by_digest = {digest([row.key]): row.id for row in session.execute(completions_query)}
    items_query = select(ItemRow).where(ItemRow.project == project, ItemRow.digest.in_(by_digest))
    return {by_digest[item.digest]: item for item in session.scalars(items_query)}


def _checked(rows: Iterable[tuple[str, RatedText]], scale: tuple[float, float]) -> Iterator[RatedText]:
    """Yield the rows; raise at the first rating outside the scale."""
    low, high = scale
    for where, row in rows:
        wrong = next((value for value in row.ratings if not low <= value <= high), None)
        if wrong is not None:
            raise DataError(
                f"{where}: the rating {wrong:g} is outside {low:g} to {high:g}; correct it, or import into a new "
                "project with --scale LOW,HIGH."
            )
        yield row


def _chunks(rows: Iterable[RatedText]) -> Iterator[list[RatedText]]:
    remaining = iter(rows)
    while chunk := list(itertools.islice(remaining, CHUNK)):
        yield chunk
