"""Imports judgements of pairs and rankings with their annotators, such as exports of annotation tools.

A prompt with its answers becomes an item, which is closed for annotators; each annotator's choice or ranking
becomes a judgement. `importing.ratings` does the same with ratings.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Preference, Prompt, Ranking
from gnomon.data.formats.common.ballots import AnnotatedFormat, Ballot, JudgedPrompt
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.reading.conversations import completion_of, row_prompt
from gnomon.data.reading.media.columns import with_media
from gnomon.data.reading.readers import ScannedRow, scan_rows
from gnomon.data.reading.row_fields import KeysRead, TrackedRow
from gnomon.data.record_kinds import kind_of_file
from gnomon.data.records import format_of
from gnomon.feedback.importing.items import own_ids
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
from gnomon.feedback.visible_text import check_shown

CHUNK = 500  # rows in memory at a time
TASKS: dict[str, type] = {"pair": Preference, "ranking": Ranking}
ADVICE = "give an export of Label Studio or Argilla, or two answers with a column for each annotator"


@dataclass(frozen=True)
class ImportedItem:
    """A prompt with its completions and each annotator's answer; indices refer to the completions.

    Attributes:
        answers: name of an annotator, "" if unknown, and the answer as the store keeps it.
    """

    prompt: Prompt
    completions: tuple[Completion, ...]
    answers: list[tuple[str, dict[str, Any]]]


def scan_judged_items(
    path: Path, task: str, prompt: Prompt | None = None, keys: KeysRead | None = None, layout: RowLayout = OWN
) -> Iterator[ImportedItem]:
    """Yield the rows of a file as judged items; those that nobody has judged are left out.

    Args:
        path: of the file.
        task: `pair` or `ranking`.
        prompt: prompt of rows that have none.
        keys: records the keys that the rows have, those that were read, and the rows left out.
        layout: the layout of the rows, where the user gave one.

    Raises:
        DataError: the layout has no judgements of single annotators, a row is damaged, or no row is judged.
    """
    kind, keys = TASKS[task], KeysRead() if keys is None else keys
    form = format_of(path, (kind,), layout)
    if not isinstance(form, AnnotatedFormat):
        raise DataError(f"{path} holds no judgements of single annotators; {ADVICE}.")
    count = 0
    for where, judged in form.scan_judged(kind, _tracked_rows(path, keys)):
        try:
            if isinstance(judged, DataError):
                raise judged
            item = _item(judged, task, prompt)
        except UnusedRow as unused:
            keys.unused[str(unused)] += 1
            continue
        except DataError as error:
            reason = str(error).removeprefix(f"{path}, {where}: ").rstrip(".")
            raise DataError(f"{path}, {where}: {reason}; {ADVICE}.") from None
        yield item
        count += 1
    if not count:
        raise DataError(f"{path}: no row of it is judged; {ADVICE}.")


def _tracked_rows(path: Path, keys: KeysRead) -> Iterator[ScannedRow]:
    for where, row in scan_rows(path):
        if isinstance(row, DataError):
            raise row
        yield where, TrackedRow(row, keys)


def task_of(path: Path, layout: RowLayout = OWN) -> str:
    """Return the task of a project for a file: `ranking` or `pair`."""
    kind = kind_of_file(path, tuple(TASKS.values()), layout)
    return next(task for task, own in TASKS.items() if own is kind)


def import_judgements(
    store: Store, project: Project, items: Iterable[ImportedItem], source: str, *, new: bool = False
) -> IngestCounts:
    """Add judged items and their judgements, each only if the project does not have it.

    An annotator's second judgement of the same item corrects the first.

    Args:
        store: database of the project.
        project: project of pairs or rankings.
        items: judged items.
        source: name of the data; distinguishes judgements without annotators of different files.
        new: create the project too.

    Returns:
        Number of added and of known judgements.

    Raises:
        DataError: an item is invalid; nothing is added.
    """
    added = known = 0
    with store.writing() as session:
        if new:
            store.add_project(project, within=session)
        annotators = ImportedAnnotators(session, project.id, source)
        remaining = iter(items)
        while chunk := list(itertools.islice(remaining, CHUNK)):
            counts = _chunk(store, session, project.id, chunk, annotators)
            added, known = added + counts.added, known + counts.known
    return IngestCounts(added, known)


def _chunk(
    store: Store, session: Session, project: str, chunk: list[ImportedItem], annotators: ImportedAnnotators
) -> IngestCounts:
    """Add some items: prompts, completions, items, annotators and judgements."""
    prompts = {one.prompt.id: one.prompt for one in chunk}
    prompt_ids = add_prompts(store, project, [BankPrompt(one) for one in prompts.values()], within=session).ids
    completions: list[tuple[str, Completion, dict[str, Any]]] = [
        (prompt_ids[one.prompt.id], completion, {}) for one in chunk for completion in one.completions
    ]
    before = last_item(session)
    ids = add_completions(store, project, completions, within=session).ids
    shown = [tuple(ids[completion.id] for completion in one.completions) for one in chunk]
    groups = list(dict.fromkeys(shown))
    add_items(store, project, groups, within=session)
    items = items_of(session, project, groups)
    close_items(items.values(), before)
    judgements = [
        ImportedJudgement(group, annotators.id_of(tuple(sorted(group)), name), answer)
        for group, one in zip(shown, chunk, strict=True)
        for name, answer in one.answers
    ]
    return add_judgements(session, project, items, judgements)


def _item(judged: JudgedPrompt, task: str, prompt: Prompt | None) -> ImportedItem:
    if not judged.ballots:
        raise UnusedRow("nobody has judged it")
    if judged.prompt:
        prompt = row_prompt(with_media(judged.prompt))
    if prompt is None:
        raise DataError("it has no prompt; give all such rows one with --prompt")
    completions = own_ids(prompt, [completion_of(answer, prompt) for answer in judged.answers.values()])
    check_shown(prompt, completions)
    if len({one.id for one in completions}) < len(completions):
        raise UnusedRow("two of its answers are the same")
    if task == "pair" and len(completions) != 2:
        raise DataError(f"it has {len(completions)} answers, where the project compares two")
    answer = _choice if task == "pair" else _order
    names = list(judged.answers)
    return ImportedItem(prompt, completions, [(one.annotator, answer(one, names)) for one in judged.ballots])


def _choice(ballot: Ballot, names: list[str]) -> dict[str, Any]:
    vote = ballot.vote(*names)
    choices: Mapping[float, str] = {1.0: "first", 0.0: "second", 0.5: "tie"}
    if vote not in choices:
        raise DataError(f"a vote is {vote:g} for the first answer, which is neither a choice nor a tie")
    return {"choice": choices[vote]}


def _order(ballot: Ballot, names: list[str]) -> dict[str, Any]:
    if set(ballot.ranks) != set(names):
        raise DataError(f"a ranking has {len(ballot.ranks)} of the {len(names)} answers")
    if len(set(ballot.ranks.values())) < len(names):
        raise DataError("a ranking has ties, which a project of rankings does not know; import it as pairs")
    return {"order": sorted(range(len(names)), key=lambda index: ballot.ranks[names[index]])}
