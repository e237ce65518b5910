"""Priority of open items: the most uncertain first, with a random share at random positions.

Judges are certain of some items on which they are wrong, and an order by their uncertainty alone would put these
last. The positions of the random share do not depend on the items' own uncertainty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import select, update

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.selection.pairs import uncertainty
from gnomon.feedback.store.schema import CompletionRow, ItemRow, PromptRow
from gnomon.feedback.store.store import Store, as_completion, as_prompt
from gnomon.feedback.task_types import DEMONSTRATION, SCALES

RANDOM_SHARE = 0.2
CHUNK = 500  # items whose priority is written in one transaction

# Scores of completions, [members, N] or [N], as `pairs.uncertainty` takes them.
ScoreFunction = Callable[[Prompt, Sequence[Completion]], ArrayLike]


@dataclass(frozen=True)
class OpenItem:
    """An open item: its key, its prompt and its completions."""

    key: int
    prompt: Prompt
    completions: tuple[Completion, ...]


def check_orderable(project: str, task: str) -> None:
    """Check that a project's items compare completions, so that their uncertainty is defined.

    Raises:
        ConfigError: the task is to score single completions, or to write answers.
    """
    if task == DEMONSTRATION:
        raise ConfigError(
            f"project '{project}' has prompts without completions, of which no judge can be uncertain; remove "
            "the judges."
        )
    if task in SCALES:
        raise ConfigError(
            f"project '{project}' scores single completions, and uncertainty is defined for comparisons; "
            "remove the judges."
        )


def item_uncertainty(pair_uncertainty: NDArray[np.float64], indices: Sequence[int]) -> float:
    """Compute the mean uncertainty over an item's pairs.

    Args:
        pair_uncertainty: uncertainty of each pair of the prompt's completions, [N, N], from `pairs.uncertainty`.
        indices: indices of the item's completions, two or more.
    """
    chosen = pair_uncertainty[np.ix_(indices, indices)]  # [K, K], 0 on the diagonal
    return float(chosen.sum() / (len(indices) * (len(indices) - 1)))


def priorities(
    uncertainties: Sequence[float], ids: Sequence[Sequence[str]], *, share: float = RANDOM_SHARE, seed: int = 0
) -> list[float]:
    """Compute the priority of each item: its uncertainty, or for a random share a random quantile of all of them.

    The draw depends on the seed and the item alone, not on the order of the items.

    Args:
        uncertainties: uncertainty of each item.
        ids: completion ids of each item.
        share: probability that an item gets a random priority.
        seed: seed of the draw.

    Raises:
        ConfigError: the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the random share is {share}; pass a number from 0 to 1.")
    ordered = np.sort(np.asarray(uncertainties, dtype=np.float64))
    result = []
    for own, item_ids in zip(uncertainties, ids, strict=True):
        rng = np.random.default_rng(int(digest([seed, "queue", *sorted(item_ids)])[:16], 16))
        draw, quantile = rng.random(2)
        result.append(float(np.quantile(ordered, quantile)) if draw < share else float(own))
    return result


def reorder(
    store: Store,
    project: str,
    scores: ScoreFunction | None,
    *,
    share: float = RANDOM_SHARE,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """Set the priorities of all open items from scores of judges.

    Args:
        store: the feedback store.
        project: id of the project.
        scores: scores of reward models; `None` resets all priorities to 0, and items come in the order in which
            they were added.
        share: share of the items with a random priority.
        seed: seed of the draw.
        progress: called with the number of items with a computed uncertainty.

    Returns:
        The priorities, in the order in which the items were added.

    Raises:
        ConfigError: the project's task is to score single completions, or the share is not in [0, 1].
        DataError: a score is not a finite number.
    """
    if scores is not None:
        check_orderable(project, store.project(project).task)
    items = open_items(store, project)
    if scores is None:
        result = [0.0] * len(items)
    else:
        uncertainties = _uncertainties(items, scores, progress)
        ids = [[completion.id for completion in item.completions] for item in items]
        result = priorities(uncertainties, ids, share=share, seed=seed)
    for start in range(0, len(items), CHUNK):
        with store.writing() as session:
            for item, priority in list(zip(items, result, strict=True))[start : start + CHUNK]:
                session.execute(update(ItemRow).where(ItemRow.key == item.key).values(priority=priority))
    return result


def open_items(store: Store, project: str) -> list[OpenItem]:
    """Return the open items of a project, in the order in which they were added."""
    with store.reading() as session:
        rows = session.execute(
            select(ItemRow.key, ItemRow.completions, PromptRow)
            .join(PromptRow, PromptRow.key == ItemRow.prompt)
            .where(ItemRow.project == project, ItemRow.state == "open")
            .order_by(ItemRow.key)
        ).all()
        completions = {
            row.key: as_completion(row)
            for row in session.scalars(select(CompletionRow).where(CompletionRow.project == project))
        }
        return [
            OpenItem(key, as_prompt(prompt), tuple(completions[n] for n in completion_keys))
            for key, completion_keys, prompt in rows
        ]


def _uncertainties(
    items: Sequence[OpenItem], scores: ScoreFunction, progress: Callable[[int], None] | None
) -> list[float]:
    """Compute the uncertainty of each item; a prompt's completions are scored once for all its items."""
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        by_prompt[item.prompt.id].append(number)
    result, computed = [0.0] * len(items), 0
    for members in by_prompt.values():
        by_id = {completion.id: completion for number in members for completion in items[number].completions}
        completions = list(by_id.values())
        index = {completion.id: n for n, completion in enumerate(completions)}
        prompt = items[members[0]].prompt
        try:
            pair_uncertainty = uncertainty(scores(prompt, completions))
        except DataError as error:
            raise DataError(f"prompt '{prompt.id}': {error}") from None
        for number in members:
            indices = [index[completion.id] for completion in items[number].completions]
            result[number] = item_uncertainty(pair_uncertainty, indices)
        computed += len(members)
        if progress is not None:
            progress(computed)
    return result
