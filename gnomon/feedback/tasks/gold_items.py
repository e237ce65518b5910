"""Gold items: items with a known correct answer, mixed among an annotator's items to measure them.

They are never exported. Any number of annotators get them, each annotator once. Any item can be marked as gold,
and unmarked again; its judgements are not changed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Ranking
from gnomon.feedback.store import queries
from gnomon.feedback.store.ingest import IngestCounts, add_completions, add_items, add_prompts
from gnomon.feedback.store.resolution import completion_ids, resolve_item
from gnomon.feedback.store.schema import (
    CompletionRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    QualificationItemRow,
    effective_judgements,
)
from gnomon.feedback.store.store import BankPrompt, Store, require
from gnomon.feedback.task_types import DEMONSTRATION, check_answer, setup_of, vote_label
from gnomon.stats.intervals import Share


@dataclass(frozen=True)
class GoldItem:
    """A gold item with the share of correct judgements; an item that most get wrong may have a wrong answer.

    Attributes:
        item: key of the item.
        prompt: key of its prompt.
        answer: the correct answer; indices refer to the completions in the item's own order.
        accuracy: correct judgements out of all effective ones.
    """

    item: int
    prompt: int
    answer: dict[str, Any]
    accuracy: Share


def mark_gold(store: Store, project: str, item: int, answer: Mapping[str, Any]) -> None:
    """Mark an item as gold.

    Args:
        store: the feedback store.
        project: id of the project.
        item: key of the item.
        answer: the correct answer; indices refer to the completions in the item's own order.

    Raises:
        ConfigError: annotators of the project write the answers.
        DataError: there is no such item, or the answer does not fit the project's task.
    """
    with store.writing() as session:
        _mark(_project(session, project), _locked(session, project, item), answer)


def unmark_gold(store: Store, project: str, item: int) -> None:
    """Turn a gold item into an ordinary one, which is exported, and judged if it is open to humans.

    Args:
        store: the feedback store.
        project: id of the project.
        item: key of the item.

    Raises:
        DataError: there is no such item.
    """
    with store.writing() as session:
        row = _locked(session, project, item)
        if row.gold is not None:
            row.gold, row.state = None, "open" if row.open_to_humans else "closed"
            session.flush()
            resolve_item(session, row, _project(session, project))


def add_gold(store: Store, project: str, rankings: Sequence[Ranking]) -> IngestCounts:
    """Add gold items from completions in a known order; existing items are marked as gold.

    Args:
        store: the feedback store.
        project: id of a project of pairs or rankings.
        rankings: completions of a prompt, best first; two for a pair.

    Raises:
        ConfigError: the project is of another task.
        DataError: a ranking has equal completions, or not two in a project of pairs; then nothing is added.
    """
    with store.writing() as session:
        project_row = _project(session, project)
        pairs = project_row.task == "pair"
        check_ordered(project, project_row.task)
        for row in rankings:
            different = {(completion.text, completion.turns) for completion in row.completions}
            if len(different) < len(row.completions) or (pairs and len(different) != 2):
                where = row.prompt.where or f"gold prompt '{row.prompt.id}'"
                raise DataError(
                    f"{where} needs {'two' if pairs else 'only'} different completions; correct the row."
                )
        prompts = add_prompts(store, project, [BankPrompt(row.prompt) for row in rankings], within=session)
        completions: list[tuple[str, Completion, dict[str, Any]]] = [
            (prompts.ids[row.prompt.id], completion, {}) for row in rankings for completion in row.completions
        ]
        ids = add_completions(store, project, completions, within=session).ids
        ordered = [[ids[completion.id] for completion in row.completions] for row in rankings]
        counts = add_items(store, project, ordered, within=session)
        session.flush()
        keys = {
            row.id: row.key
            for row in session.execute(
                select(CompletionRow.id, CompletionRow.key).where(CompletionRow.project == project)
            )
        }
        for best_first in ordered:
            item_digest = digest(sorted(keys[name] for name in best_first))
            statement = select(ItemRow).where(ItemRow.project == project, ItemRow.digest == item_digest)
            item = session.scalars(statement.with_for_update()).one()
            order = [item.completions.index(keys[name]) for name in best_first]
            _mark(project_row, item, {"choice": ("first", "second")[order[0]]} if pairs else {"order": order})
    return counts


def check_ordered(project: str, task: str) -> None:
    """Check that an order of completions is an answer of this task.

    Raises:
        ConfigError: the task is to score completions, or to write answers.
    """
    check_known_answers(project, task)
    if task not in ("pair", "ranking"):
        raise ConfigError(
            f"project '{project}' collects scores, which an order does not give; mark gold items on the page."
        )


def check_known_answers(project: str, task: str) -> None:
    """Check that the items of a task can have a known correct answer.

    Raises:
        ConfigError: annotators write the answers.
    """
    if task == DEMONSTRATION:
        raise ConfigError(
            f"project '{project}' collects written answers, of which none is the only right one; test annotators "
            "in a project of pairs."
        )


def gold_labels(session: Session, project: str, ids: Mapping[int, str]) -> dict[int, Hashable]:
    """Return the correct label of each gold item, by the item's key.

    Args:
        session: a session to read with.
        project: id of the project.
        ids: completion ids by completion key.
    """
    statement = select(ItemRow.key, ItemRow.gold, ItemRow.completions).where(
        ItemRow.project == project, ItemRow.gold.is_not(None)
    )
    labels = {}
    for key, answer, completions in session.execute(statement):
        names = [ids[completion] for completion in completions]
        labels[key] = vote_label(answer, names, names)
    return labels


def gold_items(store: Store, project: str) -> list[GoldItem]:
    """Return all gold items, those with the lowest accuracy first and those without judgements last.

    The questions of a qualification are not among them.
    """
    with store.reading() as session:
        rows = session.scalars(
            select(ItemRow)
            .where(ItemRow.project == project, ItemRow.gold.is_not(None))
            .where(ItemRow.key.not_in(select(QualificationItemRow.item)))
            .order_by(ItemRow.key)
        ).all()
        items = []
        for row in rows:
            ids = completion_ids(session, row)
            correct = vote_label(row.gold or {}, ids, ids)
            statement = effective_judgements(JudgementRow.answer, JudgementRow.shown)
            answers = session.execute(statement.where(JudgementRow.item == row.key))
            labels = [vote_label(answer, shown, ids) for answer, shown in answers]
            accuracy = Share(labels.count(correct), len(labels))
            items.append(GoldItem(row.key, row.prompt, row.gold or {}, accuracy))
        return sorted(items, key=lambda gold: (gold.accuracy.value if gold.accuracy.of else 2.0, gold.item))


def _mark(project: ProjectRow, item: ItemRow, answer: Mapping[str, Any]) -> None:
    """Check the correct answer and set the item's state to `gold`."""
    check_known_answers(project.id, project.task)
    checked = check_answer(project.task, setup_of(project.settings), len(item.completions), answer)
    checked.pop("rewrite", None)
    item.gold, item.state = checked, "gold"


def _project(session: Session, project: str) -> ProjectRow:
    row: ProjectRow = require(session.get(ProjectRow, project), "project", project)
    return row


def _locked(session: Session, project: str, item: int) -> ItemRow:
    locked = session.scalars(queries.LOCK_ITEM, {"item": item, "project": project})
    row: ItemRow = require(locked.first(), "item", item)
    return row
