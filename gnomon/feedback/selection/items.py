"""Items to judge from the completions of a project, chosen by `selection.pairs`."""

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
from gnomon.feedback.store.store import Store, as_completion, as_prompt
from gnomon.feedback.task_types import SCALES, setup_of


@dataclass(frozen=True)
class PromptCompletions:
    """A prompt with its completions and items.

    Attributes:
        prompt: the prompt.
        completions: all its completions.
        item_counts: number of items by their set of completion ids.
        items: number of items.
    """

    prompt: Prompt
    completions: tuple[Completion, ...]
    item_counts: Counter[frozenset[str]]
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
    """Create items of the project's task from the completions of prompts, in one transaction.

    Pairs: as many as a prompt has completions, or all pairs of up to three. Rankings: sets of the project's size.
    Scores: one item per completion. A prompt that has as many items already gets no more.

    Args:
        store: the feedback store.
        project: id of the project.
        prompts: ids of the prompts; by default all of them.
        scores: scores of reward models. Pairs of which they are uncertain are preferred, and the items get the
            priorities of `priority.priorities`.
        count: number of pairs or rankings per prompt.
        seed: seed of the random choices.
        random_share: share of the items with a random priority.

    Raises:
        ConfigError: there are `scores`, and the task is to score single completions.
    """
    project_row = store.project(project)
    size, task = setup_of(project_row.settings).ranking_size, project_row.task
    if scores is not None:
        check_orderable(project, task)
    new_items: list[Sequence[str]] = []
    uncertainties: list[float] = []
    for entry in prompt_completions(store, project, prompts):
        completions = entry.completions
        max_items = min(count or len(completions), math.comb(len(completions), 2)) if task == "pair" else 1
        if task in ("pair", "ranking") and max_items and entry.items >= max_items:
            continue
        pair_uncertainty = None if scores is None else uncertainty(scores(entry.prompt, completions))
        items = item_completions(
            task,
            completions,
            size,
            seed,
            count=count,
            pair_uncertainty=pair_uncertainty,
            item_counts=entry.item_counts,
        )
        new_items += items
        if pair_uncertainty is not None:
            index = {completion.id: n for n, completion in enumerate(completions)}
            uncertainties += [item_uncertainty(pair_uncertainty, [index[name] for name in ids]) for ids in items]
    order = priorities(uncertainties, new_items, share=random_share, seed=seed) if scores is not None else None
    return add_items(store, project, new_items, priorities=order)


def item_completions(
    task: str,
    completions: Sequence[Completion],
    size: int,
    seed: int,
    *,
    count: int | None = None,
    pair_uncertainty: NDArray[np.float64] | None = None,
    item_counts: Mapping[frozenset[str], int] | None = None,
) -> list[tuple[str, ...]]:
    """Choose the completions of each item of one prompt.

    Args:
        task: the project's task, such as `pair`.
        completions: all completions of the prompt.
        size: number of completions of a ranking.
        seed: seed of the random choices.
        count: number of pairs or rankings; by default as many pairs as there are completions, or all pairs of up
            to three.
        pair_uncertainty: uncertainty of each pair, [N, N].
        item_counts: number of existing items by their set of completion ids.

    Returns:
        The completion ids of each item.
    """
    if task in SCALES:
        return [(completion.id,) for completion in completions]
    if len(completions) < 2:
        return []
    if task == "ranking":
        return rankings(completions, size, seed, count)
    chosen = pairs(completions, count or len(completions), pair_uncertainty, dict(item_counts or {}), seed)
    return [pair.ids for pair in chosen]


def prompt_completions(
    store: Store, project: str, prompts: Sequence[str] | None = None
) -> list[PromptCompletions]:
    """Load prompts with their completions and numbers of items, in the order in which the prompts were added.

    Args:
        store: the feedback store.
        project: id of the project.
        prompts: ids of the prompts; by default all of them.
    """
    selected = None if prompts is None else set(prompts)
    with store.reading() as session:
        rows = session.scalars(
            select(PromptRow).where(PromptRow.project == project).order_by(PromptRow.key)
        ).all()
        by_prompt: dict[int, list[CompletionRow]] = defaultdict(list)
        for completion in session.scalars(
            select(CompletionRow).where(CompletionRow.project == project).order_by(CompletionRow.key)
        ):
            by_prompt[completion.prompt].append(completion)
        ids = {row.key: row.id for completion_rows in by_prompt.values() for row in completion_rows}
        item_counts: dict[int, Counter[frozenset[str]]] = defaultdict(Counter)
        for prompt, keys in session.execute(
            select(ItemRow.prompt, ItemRow.completions).where(ItemRow.project == project)
        ):
            item_counts[prompt][frozenset(ids[key] for key in keys)] += 1
        return [
            PromptCompletions(
                as_prompt(row),
                tuple(map(as_completion, by_prompt[row.key])),
                item_counts[row.key],
                item_counts[row.key].total(),
            )
            for row in rows
            if selected is None or row.id in selected
        ]
