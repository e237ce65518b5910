"""Imports ratings that were collected elsewhere as judgements, row by row in one transaction.

A text becomes a completion and an item of its own, which is closed for annotators. A named rater becomes an
annotator of the project. For ratings without names the raters are unknown: annotators of the kind `anonymous`
stand for the first rating of each text, the second, and so on; statistics that follow a person across texts must
not use them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Prompt, RatedText
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.records import EXPECTED, own_rows, parse_record
from gnomon.feedback.importing.judgement_rows import (
    ImportedAnnotators,
    ImportedJudgement,
    add_judgements,
    close_items,
    items_of,
    last_item,
)
from gnomon.feedback.store.ingest import IngestCounts, add_completions, add_items, add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.task_types import SCALES, setup_of
from gnomon.feedback.visible_text import check_shown

CHUNK = 1000  # rows in memory at a time


def scan_ratings(
    path: Path, prompt: Prompt | None, keys: KeysRead | None = None, layout: RowLayout = OWN
) -> Iterator[tuple[str, RatedText]]:
    """Yield the rows of a file of ratings, each with its location; those that nobody rated are left out.

    Args:
        path: rows with a text and its `ratings`, or one `rating` (or `value`), see `data.records`; or rows of a
            format that holds rated texts, such as an export of Label Studio or Argilla.
        prompt: prompt of texts that have none.
        keys: records the keys that the rows have, those that were read, and the rows left out.
        layout: the layout of the rows, where the user gave one.

    Raises:
        DataError: a row is invalid, a text has no prompt, or there are no rows.
    """
    empty, keys = True, KeysRead() if keys is None else keys
    for where, row in own_rows(RatedText, path, keys, layout):
        empty = False
        if isinstance(row, UnusedRow):
            keys.unused[str(row)] += 1
            continue
        if isinstance(row, DataError):
            raise row
        try:
            rated_text = parse_record(RatedText, row)
            check_shown(rated_text.prompt)
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
    added = known = 0
    with store.writing() as session:
        if new:
            store.add_project(project, within=session)
        annotators = ImportedAnnotators(session, project.id, source)
        for chunk in _chunks(_checked(rows, scale)):
            counts = _chunk(store, session, project, criteria[0], chunk, annotators)
            added, known = added + counts.added, known + counts.known
    return IngestCounts(added, known)


def _chunk(
    store: Store,
    session: Session,
    project: Project,
    criterion: str,
    rows: list[RatedText],
    annotators: ImportedAnnotators,
) -> IngestCounts:
    """Add some rows: prompts, texts, items, annotators and judgements."""
    prompts = {row.prompt.id: row.prompt for row in rows if row.prompt}
    prompt_ids = add_prompts(store, project.id, [BankPrompt(one) for one in prompts.values()], within=session).ids
    texts: list[tuple[str, Completion, dict[str, Any]]] = [
        (prompt_ids[row.prompt.id], Completion(row.id, row.text), {}) for row in rows if row.prompt
    ]
    before = last_item(session)
    ids = add_completions(store, project.id, texts, within=session).ids
    groups = list(dict.fromkeys((ids[row.id],) for row in rows))
    add_items(store, project.id, groups, within=session)
    items = items_of(session, project.id, groups)
    close_items(items.values(), before)
    judgements = [
        ImportedJudgement(item, annotators.id_of(item, rater), _scores(criterion, value))
        for row in rows
        for item in [(ids[row.id],)]
        for rater, value in zip(row.raters or ("",) * len(row.ratings), row.ratings, strict=True)
    ]
    return add_judgements(session, project.id, items, judgements)


def _scores(criterion: str, value: float) -> dict[str, Any]:
    return {"scores": [{criterion: int(value) if value == int(value) else value}]}


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
