"""The order of the queue: by uncertainty, but for a random share; a later judge reorders what waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from annotating import judge_all, project, submit_choice, take
from sqlalchemy import select
from tiny import prompts_of

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.selection.items import create_items
from gnomon.feedback.selection.priority import item_uncertainty, priorities, reorder
from gnomon.feedback.store.ingest import add_completions, add_prompts
from gnomon.feedback.store.schema import ItemRow
from gnomon.feedback.store.store import BankPrompt, Store
from gnomon.feedback.tasks.queue import Queue

ITEMS = 40


def ensemble(prompt: Prompt, answers: Sequence[Completion]) -> list[list[float]]:
    """Two members that differ by ± a gap which depends on the number n of the film: the variance is known."""
    return [[sign * gap(one) for one in answers] for sign in (1.0, -1.0)]


def gap(answer: Completion) -> float:
    number = int(answer.id[1:])
    return (number * 17 % ITEMS) / 10 if answer.id[0] == "a" else 0.0


def variance(number: int) -> float:
    """Of σ(±g): both lie (2σ(g) − 1)/2 from their mean of a half."""
    return ((1 / (1 + math.exp(-((number * 17 % ITEMS) / 10)))) - 0.5) ** 2


def order_asked(store: Store, queue: Queue, who: str = "ann") -> list[int]:
    """The number of each film, in the order in which its item came."""
    keys = judge_all(queue, who, lambda number: "a")
    with store.reading() as session:
        first = {row.key: row.prompt for row in session.scalars(select(ItemRow))}
    return [first[key] - 1 for key in keys]  # prompts have the keys 1, 2, …


def test_the_most_uncertain_are_asked_first_but_for_a_random_share(database: str) -> None:
    """Measured over the items as one annotator gets them; those out of order are about the share."""
    store = Store(database)
    queue = project(store, ITEMS, votes_per_item=1, max_votes=1, names=("ann",), gold_rate=0)
    reorder(store, "films", ensemble, share=0.0)
    came = order_asked(store, queue)
    assert [variance(n) for n in came] == sorted((variance(n) for n in range(ITEMS)), reverse=True)
    store.close()


def test_a_random_share_stands_anywhere(database: str) -> None:
    store = Store(database)
    queue = project(store, ITEMS, votes_per_item=1, max_votes=1, names=("ann",), gold_rate=0)
    found = reorder(store, "films", ensemble, share=0.25, seed=4)
    drawn = {n for n, priority in enumerate(found) if not math.isclose(priority, variance(n), abs_tol=1e-12)}
    assert 4 <= len(drawn) <= 16  # of 40 with 0.25 each: ten, give or take two deviations
    came = order_asked(store, queue)
    kept = [variance(n) for n in came if n not in drawn]
    assert all(first >= second for first, second in pairwise(kept))
    # Among them stand certain ones early and uncertain ones late: their rank has nothing to do with their own.
    places = [came.index(n) for n in sorted(drawn, key=variance, reverse=True)]
    assert places != sorted(places)
    store.close()


def test_items_made_of_answers_are_asked_in_that_order(database: str) -> None:
    store = Store(database)
    queue = project(store, 0, votes_per_item=1, max_votes=1, names=("ann",), gold_rate=0)
    add_prompts(store, "films", map(BankPrompt, prompts_of(*(f"film {n}?" for n in range(ITEMS)))))
    texts: list[tuple[str, Completion, dict[str, Any]]] = [
        (f"p{n}", Completion(f"{side}{n}", f"{side} of {n}"), {}) for n in range(ITEMS) for side in "ab"
    ]
    add_completions(store, "films", texts)
    assert create_items(store, "films", scores=ensemble, random_share=0.0).added == ITEMS
    came = order_asked(store, queue)
    assert [variance(n) for n in came] == sorted((variance(n) for n in range(ITEMS)), reverse=True)
    store.close()


def test_a_later_judge_reorders_what_waits_and_nothing_else(database: str) -> None:
    store = Store(database)
    queue = project(store, 6, votes_per_item=1, max_votes=1, names=("ann", "bob"), gold_rate=0)
    reorder(
        store, "films", lambda prompt, some: [float(one.id[1:]) * (one.id[0] == "a") for one in some], share=0
    )
    first = take(queue, "ann")  # 1/4 where the judge is sure of nothing: film 0
    assert first.completions[0].id[1:] == "0"
    submit_choice(queue, first, "ann", "a")
    assert len(reorder(store, "films", ensemble, share=0)) == 5
    sure = sorted(range(1, 6), key=variance, reverse=True)
    assert order_asked(store, queue) == sure
    store.close()


def test_without_a_judge_items_come_as_they_were_added(database: str) -> None:
    store = Store(database)
    queue = project(store, 6, votes_per_item=1, max_votes=1, names=("ann",), gold_rate=0)
    reorder(store, "films", ensemble)
    assert reorder(store, "films", None) == [0.0] * 6
    assert order_asked(store, queue) == list(range(6))
    store.close()


def test_the_uncertainty_of_a_ranking_is_the_mean_over_its_pairs() -> None:
    unsure = np.array([[0.0, 0.1, 0.2], [0.1, 0.0, 0.6], [0.2, 0.6, 0.0]])
    assert item_uncertainty(unsure, [0, 1, 2]) == pytest.approx(0.3)
    assert item_uncertainty(unsure, [2, 0]) == pytest.approx(0.2)


def test_the_draw_depends_on_the_item_and_not_on_its_place() -> None:
    names = [[f"a{n}", f"b{n}"] for n in range(30)]
    values = [float(n) for n in range(30)]
    found = dict(zip(map(tuple, names), priorities(values, names, share=0.5, seed=3), strict=True))
    back = dict(
        zip(map(tuple, names[::-1]), priorities(values[::-1], names[::-1], share=0.5, seed=3), strict=True)
    )
    assert found == back
    assert priorities(values, names, share=0.5, seed=4) != list(found.values())
    assert priorities(values, names, share=0.0) == values
    assert priorities([], [], share=0.5) == []


def test_what_cannot_be_ordered_is_refused(database: str) -> None:
    store = Store(database)
    project(store, 2, task="likert", sides="a")
    with pytest.raises(ConfigError, match="project 'films' scores answers one by one"):
        reorder(store, "films", ensemble)
    with pytest.raises(ConfigError, match=r"random share is 1\.5"):
        priorities([1.0], [["a", "b"]], share=1.5)
    store.close()


def test_a_score_that_is_no_number_names_the_prompt(tmp_path: object) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    project(store, 2)
    with pytest.raises(DataError, match="prompt 'p0': scores must be finite"):
        reorder(store, "films", lambda prompt, some: [math.nan] * len(some))
    store.close()
