"""From the answers in a bank to questions about them, chosen by `feedback.pairing`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from gnomon.core.types import Completion, Prompt
from gnomon.feedback.selection.pairs import pairs, rankings, uncertainty
from gnomon.feedback.selection.priority import (
    RANDOM_SHARE,
    ScoreFunction,
    check_orderable,
    item_uncertainty,
    priorities,
)
from gnomon.feedback.store.ingest import IngestCounts, add_items
from gnomon.feedback.store.schema import CompletionRow, ItemRow, PromptRow
from gnomon.feedback.store.store import BankPrompt, Store, as_completion, as_prompt
from gnomon.feedback.task_types import SCALES, setup_of


@dataclass(frozen=True)
class PromptAnswers:
    """A prompt with all its answers, and how often two of them, by their ids, were asked about."""

    prompt: Prompt
    answers: tuple[Completion, ...]
    asked: Counter[frozenset[str]]
    items: int


def create_items(
    store: Store,
    project: str,
    prompts: Sequence[str] | None = None,
    *,
    scores: ScoreFunction | None = None,
    count: int | None = None,
    seed: int = 0,
    random_share: float = RANDOM_SHARE,
) -> IngestCounts:
    """Make items of the project's task from the answers that prompts have; all of them, or none.

    Pairs: as many as a prompt has answers, or all of up to three. Rankings: sets of the project's size. What
    scores asks for each answer alone. A prompt that has as many items already gets no more.

    Args:
        store: with the answers.
        project: its id.
        prompts: ids; `None` takes the whole bank.
        scores: of reward models: pairs of which they are uncertain are preferred, and the items are asked in the
            order of `priority.priorities`.
        count: pairs or rankings a prompt.
        seed: of the choice.
        random_share: of items that stand at a random place of that order.

    Raises:
        ConfigError: there are scores, and the task scores single answers.
    """
    about = store.project(project)
    size, task = setup_of(about.settings).ranking_size, about.task
    if scores is not None:
        check_orderable(project, task)
    found: list[Sequence[str]] = []
    uncertain: list[float] = []
    for one in prompt_answers(store, project, prompts):
        wanted = count or len(one.answers)
        enough = min(wanted, math.comb(len(one.answers), 2)) if task == "pair" else int(task == "ranking")
        if enough and one.items >= enough:
            continue
        unsure = None if scores is None else uncertainty(scores(one.prompt, one.answers))
        items = item_completions(task, one.answers, size, seed, count=count, unsure=unsure, asked=one.asked)
        found += items
        if unsure is not None:
            place = {answer.id: at for at, answer in enumerate(one.answers)}
            uncertain += [item_uncertainty(unsure, [place[name] for name in ids]) for ids in items]
    order = priorities(uncertain, found, share=random_share, seed=seed) if scores is not None else None
    return add_items(store, project, found, priorities=order)


def item_completions(
    task: str,
    answers: Sequence[Completion],
    size: int,
    seed: int,
    *,
    count: int | None = None,
    unsure: NDArray[np.float64] | None = None,
    asked: Mapping[frozenset[str], int] | None = None,
) -> list[tuple[str, ...]]:
    """The ids of the answers that each question of a task shows, of one prompt's answers.

    Args:
        task: `pair`, `ranking`, or one that scores.
        answers: all there are.
        size: answers of a ranking.
        seed: of the choice.
        count: pairs or rankings; as many pairs as there are answers if nothing is said, or all of up to three.
        unsure: `[answers, answers]`, how uncertain each pair is.
        asked: how often each pair was asked before.
    """
    if task in SCALES:
        return [(one.id,) for one in answers]
    if len(answers) < 2:
        return []
    if task == "ranking":
        return rankings(answers, size, seed, count)
    return [pair.ids for pair in pairs(answers, count or len(answers), unsure, dict(asked or {}), seed)]


def prompt_answers(store: Store, project: str, prompts: Sequence[str] | None = None) -> list[PromptAnswers]:
    """Prompts of the bank with their answers and what was asked of them, in the bank's order."""
    wanted = None if prompts is None else set(prompts)
    with store.reading() as session:
        rows = session.scalars(
            select(PromptRow).where(PromptRow.project == project).order_by(PromptRow.key)
        ).all()
        by_prompt: dict[int, list[CompletionRow]] = defaultdict(list)
        for answer in session.scalars(
            select(CompletionRow).where(CompletionRow.project == project).order_by(CompletionRow.key)
        ):
            by_prompt[answer.prompt].append(answer)
        names = {answer.key: answer.id for some in by_prompt.values() for answer in some}
        asked: dict[int, Counter[frozenset[str]]] = defaultdict(Counter)
        for prompt, keys in session.execute(
            select(ItemRow.prompt, ItemRow.completions).where(ItemRow.project == project)
        ):
            asked[prompt][frozenset(names[key] for key in keys)] += 1
        return [
            PromptAnswers(
                as_prompt(row),
                tuple(map(as_completion, by_prompt[row.key])),
                asked[row.key],
                asked[row.key].total(),
            )
            for row in rows
            if wanted is None or row.id in wanted
        ]


def load_bank(store: Store, project: str) -> list[BankPrompt]:
    """All prompts of a project's bank with what is known of them, in the order in which they came."""
    with store.reading() as session:
        rows = session.scalars(
            select(PromptRow).where(PromptRow.project == project).order_by(PromptRow.key)
        ).all()
        return [BankPrompt(as_prompt(r), r.category, tuple(r.tags), r.value, r.edge) for r in rows]
