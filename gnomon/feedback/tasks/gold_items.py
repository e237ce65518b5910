"""Gold questions: items whose answer is known, mixed unseen among an annotator's questions to test them.

They are never exported, any number of annotators gets them, and none of them twice. An item may become one later,
or be one no longer: what was said of it stays.
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
from gnomon.feedback.store.resolution import names_of, settle
from gnomon.feedback.store.schema import CompletionRow, ItemRow, JudgementRow, ProjectRow, standing
from gnomon.feedback.store.store import BankPrompt, Store, existing
from gnomon.feedback.task_types import check_answer, setup_of, verdict
from gnomon.stats.intervals import Share


@dataclass(frozen=True)
class GoldItem:
    """An item with a known answer, and how it was answered: one that most get wrong may itself be wrong."""

    item: int
    prompt: int
    answer: dict[str, Any]
    right: Share


def mark(store: Store, project: str, item: int, answer: Mapping[str, Any]) -> None:
    """Make an item a gold one.

    Args:
        store: where it is.
        project: whose it is.
        item: its number.
        answer: what is right, as if the completions were shown in the item's own order.

    Raises:
        DataError: there is no such item, or the answer is none of the project's task.
    """
    with store.writing() as session:
        _mark(_project(session, project), _locked(session, project, item), answer)


def unmark(store: Store, project: str, item: int) -> None:
    """Make a gold item one like all others: it is asked if it is to be, and is exported."""
    with store.writing() as session:
        row = _locked(session, project, item)
        if row.gold is not None:
            row.gold, row.state = None, "open" if row.open_to_humans else "closed"
            session.flush()
            settle(session, row, _project(session, project))


def add_gold(store: Store, project: str, known: Sequence[Ranking]) -> IngestCounts:
    """Add prompts with completions of which is known how good they are; items that are there become gold.

    Args:
        store: where they go.
        project: of pairs or rankings.
        known: completions best first; two for a pair.

    Raises:
        ConfigError: the project's task is another.
        DataError: a row has not as many different completions as the task needs; then nothing is added.
    """
    with store.writing() as session:
        asked = _project(session, project)
        check_ordered(project, asked.task)
        for row in known:
            different = {(completion.text, completion.turns) for completion in row.completions}
            if len(different) < len(row.completions) or (asked.task == "pair" and len(different) != 2):
                place = row.prompt.where or f"gold prompt '{row.prompt.id}'"
                raise DataError(
                    f"{place} needs {'two' if asked.task == 'pair' else 'only'} different completions; mend it."
                )
        prompts = add_prompts(store, project, [BankPrompt(row.prompt) for row in known], within=session)
        answers: list[tuple[str, Completion, dict[str, Any]]] = [
            (prompts.ids[row.prompt.id], one, {}) for row in known for one in row.completions
        ]
        ids = add_completions(store, project, answers, within=session).ids
        ordered = [[ids[one.id] for one in row.completions] for row in known]
        counted = add_items(store, project, ordered, within=session)
        session.flush()
        keys = {
            row.id: row.key
            for row in session.execute(
                select(CompletionRow.id, CompletionRow.key).where(CompletionRow.project == project)
            )
        }
        for best_first in ordered:
            sign = digest(sorted(keys[name] for name in best_first))
            wanted = select(ItemRow).where(ItemRow.project == project, ItemRow.digest == sign).with_for_update()
            item = session.scalars(wanted).one()
            places = [item.completions.index(keys[name]) for name in best_first]
            pair = {"choice": ("first", "second")[places[0]]}
            _mark(asked, item, pair if asked.task == "pair" else {"order": places})
    return counted


def check_ordered(project: str, task: str) -> None:
    """That an order of completions says what is right in a project of this task.

    Raises:
        ConfigError: it asks for scores.
    """
    if task not in ("pair", "ranking"):
        raise ConfigError(
            f"project '{project}' asks for scores, which an order does not say; mark gold items on the page."
        )


def gold_verdicts(session: Session, project: str, ids: Mapping[int, str]) -> dict[int, Hashable]:
    """What is right of each gold item.

    Args:
        session: to read with.
        project: whose items.
        ids: of completions, by their number in the store.
    """
    wanted = select(ItemRow.key, ItemRow.gold, ItemRow.completions).where(
        ItemRow.project == project, ItemRow.gold.is_not(None)
    )
    found = {}
    for key, answer, completions in session.execute(wanted):
        names = [ids[one] for one in completions]
        found[key] = verdict(answer, names, names)
    return found


def gold_items(store: Store, project: str) -> list[GoldItem]:
    """All gold items, those that are answered wrongest first."""
    with store.reading() as session:
        rows = session.scalars(
            select(ItemRow).where(ItemRow.project == project, ItemRow.gold.is_not(None)).order_by(ItemRow.key)
        ).all()
        found = []
        for row in rows:
            names = names_of(session, row)
            right = verdict(row.gold or {}, names, names)
            answers = standing(JudgementRow.answer, JudgementRow.shown).where(JudgementRow.item == row.key)
            said = [verdict(answer, shown, names) for answer, shown in session.execute(answers)]
            share = Share(sum(one == right for one in said), len(said))
            found.append(GoldItem(row.key, row.prompt, row.gold or {}, share))
        return sorted(found, key=lambda one: (one.right.value if one.right.of else 2.0, one.item))


def _mark(project: ProjectRow, item: ItemRow, answer: Mapping[str, Any]) -> None:
    checked = check_answer(project.task, setup_of(project.settings), len(item.completions), answer)
    checked.pop("rewrite", None)
    item.gold, item.state = checked, "gold"


def _project(session: Session, project: str) -> ProjectRow:
    found: ProjectRow = existing(session.get(ProjectRow, project), "project", project)
    return found


def _locked(session: Session, project: str, item: int) -> ItemRow:
    locked = session.scalars(queries.LOCKED, {"item": item, "project": project})
    found: ItemRow = existing(locked.first(), "item", item)
    return found
