"""In which order waiting items are asked: the most uncertain first, a random share anywhere among them.

What judges are surely wrong about looks certain to them, so an order by their uncertainty alone would come to it
last. Items of the random share stand at places that do not depend on their own uncertainty.
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
from gnomon.feedback.task_types import SCALES

RANDOM_SHARE = 0.2
CHUNK = 500  # items whose priority is written in one transaction

ScoreFunction = Callable[
    [Prompt, Sequence[Completion]], ArrayLike
]  # [members, answers], as `pairing.uncertainty` reads


@dataclass(frozen=True)
class OpenItem:
    """An open item: its key, its prompt, and the completions that it compares."""

    key: int
    prompt: Prompt
    answers: tuple[Completion, ...]


def check_orderable(project: str, task: str) -> None:
    """Refuse projects whose items compare nothing.

    Raises:
        ConfigError: the task scores single answers.
    """
    if task in SCALES:
        raise ConfigError(
            f"project '{project}' scores answers one by one, and uncertainty is of comparisons; "
            "leave out the judges."
        )


def item_uncertainty(unsure: NDArray[np.float64], places: Sequence[int]) -> float:
    """The mean uncertainty over an item's pairs.

    Args:
        unsure: of each pair of a prompt's answers, `[answers, answers]`, as `pairing.uncertainty` gives it.
        places: of the item's answers, two or more.
    """
    chosen = unsure[np.ix_(places, places)]  # [K, K], 0 on the diagonal
    return float(chosen.sum() / (len(places) * (len(places) - 1)))


def priorities(
    uncertainties: Sequence[float], names: Sequence[Sequence[str]], *, share: float = RANDOM_SHARE, seed: int = 0
) -> list[float]:
    """The priority of each item: its uncertainty, or, for a random share, a quantile of all drawn uniformly.

    Which items are drawn, and their places, depend on the seed and on the item, not on the order of the items.

    Args:
        uncertainties: of the items.
        names: the ids of the completions of each.
        share: the probability that an item stands at a random place.
        seed: of the draw.

    Raises:
        ConfigError: the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the random share is {share}; give a number from 0 to 1.")
    ordered = np.sort(np.asarray(uncertainties, dtype=np.float64))
    result = []
    for own, ids in zip(uncertainties, names, strict=True):
        draw = np.random.default_rng(int(digest([seed, "queue", *sorted(ids)])[:16], 16))
        drawn, quantile = draw.random(2)
        result.append(float(np.quantile(ordered, quantile)) if drawn < share else float(own))
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
    """Give all waiting items the priorities that judges' scores imply; returns them, in the order of the items.

    Args:
        store: with the items.
        project: its id.
        scores: of reward models; `None` forgets all priorities, and items come in the order in which they were
            added.
        share: of items at random places.
        seed: of the draw.
        progress: receives the number of items whose uncertainty is known.

    Raises:
        ConfigError: the project's items compare nothing, or the share cannot be.
        DataError: a score is not a finite number.
    """
    if scores is not None:
        check_orderable(project, store.project(project).task)
    items = open_items(store, project)
    if scores is None:
        result = [0.0] * len(items)
    else:
        unsure = _uncertainties(items, scores, progress)
        names = [[one.id for one in item.answers] for item in items]
        result = priorities(unsure, names, share=share, seed=seed)
    for start in range(0, len(items), CHUNK):
        with store.writing() as session:
            for item, priority in list(zip(items, result, strict=True))[start : start + CHUNK]:
                session.execute(update(ItemRow).where(ItemRow.key == item.key).values(priority=priority))
    return result


def open_items(store: Store, project: str) -> list[OpenItem]:
    """The open items of a project, in the order in which they were added."""
    with store.reading() as session:
        rows = session.execute(
            select(ItemRow.key, ItemRow.completions, PromptRow)
            .join(PromptRow, PromptRow.key == ItemRow.prompt)
            .where(ItemRow.project == project, ItemRow.state == "open")
            .order_by(ItemRow.key)
        ).all()
        answers = {
            row.key: as_completion(row)
            for row in session.scalars(select(CompletionRow).where(CompletionRow.project == project))
        }
        return [
            OpenItem(key, as_prompt(prompt), tuple(answers[one] for one in completions))
            for key, completions, prompt in rows
        ]


def _uncertainties(
    items: Sequence[OpenItem], scores: ScoreFunction, progress: Callable[[int], None] | None
) -> list[float]:
    """Of each item; a prompt's answers are scored once, however many items compare them."""
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        by_prompt[item.prompt.id].append(index)
    result, done = [0.0] * len(items), 0
    for members in by_prompt.values():
        answers = list({one.id: one for index in members for one in items[index].answers}.values())
        place = {one.id: at for at, one in enumerate(answers)}
        prompt = items[members[0]].prompt
        try:
            unsure = uncertainty(scores(prompt, answers))
        except DataError as error:
            raise DataError(f"prompt '{prompt.id}': {error}") from None
        for index in members:
            result[index] = item_uncertainty(unsure, [place[one.id] for one in items[index].answers])
        done += len(members)
        if progress is not None:
            progress(done)
    return result
