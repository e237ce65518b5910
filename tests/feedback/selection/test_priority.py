"""Priority of open items: by uncertainty, with a random share; a later judge reorders open items."""

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
    """Two members whose scores are ± a gap that depends on the film's number, so the variance is known."""
    return [[sign * gap(one) for one in answers] for sign in (1.0, -1.0)]


def gap(answer: Completion) -> float:
    number = int(answer.id[1:])
    return (number * 17 % ITEMS) / 10 if answer.id[0] == "a" else 0.0


def variance(number: int) -> float:
    """Variance of σ(±g): both are (2σ(g) − 1)/2 from their mean of a half."""
    return ((1 / (1 + math.exp(-((number * 17 % ITEMS) / 10)))) - 0.5) ** 2


def films_in_order(store: Store, queue: Queue, who: str = "ann") -> list[int]:
    """The numbers of the films, in the order in which an annotator gets their items."""
    keys = judge_all(queue, who, lambda number: "a")
    with store.reading() as session:
        first = {row.key: row.prompt for row in session.scalars(select(ItemRow))}
    return [first[key] - 1 for key in keys]  # prompts have the keys 1, 2, …


def test_without_a_random_share_the_most_uncertain_items_come_first(database: str) -> None:
    store = Store(database)
    queue = project(store, ITEMS, votes_per_item=1, max_votes=1, names=("ann",), gold_rate=0)
    reorder(store, "films", ensemble, share=0.0)
    order = films_in_order(store, queue)
    assert [variance(n) for n in order] == sorted((variance(n) for n in range(ITEMS)), reverse=True)
    store.close()


def test_positions_of_the_random_share_do_not_follow_uncertainty(database: str) -> None:
    store = Store(database)
    queue = project(store, ITEMS, votes_per_item=1, max_votes=1, names=("ann",), gold_rate=0)
    result = reorder(store, "films", ensemble, share=0.25, seed=4)
    random = {n for n, priority in enumerate(result) if not math.isclose(priority, variance(n), abs_tol=1e-12)}
    assert 4 <= len(random) <= 16  # of 40 with 0.25 each: ten, within two standard deviations
    order = films_in_order(store, queue)
    ordered = [variance(n) for n in order if n not in random]
    assert all(first >= second for first, second in pairwise(ordered))
    # Some certain items of the random share come early, and some uncertain ones late.
    positions = [order.index(n) for n in sorted(random, key=variance, reverse=True)]
    assert positions != sorted(positions)
    store.close()


def test_created_items_come_in_the_order_of_their_uncertainty(database: str) -> None:
    store = Store(database)
    queue = project(store, 0, votes_per_item=1, max_votes=1, names=("ann",), gold_rate=0)
    add_prompts(store, "films", map(BankPrompt, prompts_of(*(f"film {n}?" for n in range(ITEMS)))))
    texts: list[tuple[str, Completion, dict[str, Any]]] = [
        (f"p{n}", Completion(f"{side}{n}", f"{side} of {n}"), {}) for n in range(ITEMS) for side in "ab"
    ]
    add_completions(store, "films", texts)
    assert create_items(store, "films", scores=ensemble, random_share=0.0).added == ITEMS
    order = films_in_order(store, queue)
    assert [variance(n) for n in order] == sorted((variance(n) for n in range(ITEMS)), reverse=True)
    store.close()


def test_a_later_judge_reorders_open_items_alone(database: str) -> None:
    store = Store(database)
    queue = project(store, 6, votes_per_item=1, max_votes=1, names=("ann", "bob"), gold_rate=0)
    reorder(
        store, "films", lambda prompt, some: [float(one.id[1:]) * (one.id[0] == "a") for one in some], share=0
    )
    first = take(queue, "ann")  # film 0, for which the judge gives equal scores: uncertainty 1/4
    assert first.completions[0].id[1:] == "0"
    submit_choice(queue, first, "ann", "a")
    assert len(reorder(store, "films", ensemble, share=0)) == 5
    assert films_in_order(store, queue) == sorted(range(1, 6), key=variance, reverse=True)
    store.close()


def test_without_a_judge_items_come_in_the_order_in_which_they_were_added(database: str) -> None:
    store = Store(database)
    queue = project(store, 6, votes_per_item=1, max_votes=1, names=("ann",), gold_rate=0)
    reorder(store, "films", ensemble)
    assert reorder(store, "films", None) == [0.0] * 6
    assert films_in_order(store, queue) == list(range(6))
    store.close()


def test_the_uncertainty_of_a_ranking_is_the_mean_over_its_pairs() -> None:
    pair_uncertainty = np.array([[0.0, 0.1, 0.2], [0.1, 0.0, 0.6], [0.2, 0.6, 0.0]])
    assert item_uncertainty(pair_uncertainty, [0, 1, 2]) == pytest.approx(0.3)
    assert item_uncertainty(pair_uncertainty, [2, 0]) == pytest.approx(0.2)


def test_the_random_draw_depends_on_the_item_and_not_on_its_position() -> None:
    names = [[f"a{n}", f"b{n}"] for n in range(30)]
    values = [float(n) for n in range(30)]
    forward = dict(zip(map(tuple, names), priorities(values, names, share=0.5, seed=3), strict=True))
    backward = dict(
        zip(map(tuple, names[::-1]), priorities(values[::-1], names[::-1], share=0.5, seed=3), strict=True)
    )
    assert forward == backward
    assert priorities(values, names, share=0.5, seed=4) != list(forward.values())
    assert priorities(values, names, share=0.0) == values
    assert priorities([], [], share=0.5) == []


def test_projects_of_scores_and_invalid_shares_are_refused(database: str) -> None:
    store = Store(database)
    project(store, 2, task="likert", sides="a")
    with pytest.raises(ConfigError, match="project 'films' scores single completions"):
        reorder(store, "films", ensemble)
    with pytest.raises(ConfigError, match=r"random share is 1\.5"):
        priorities([1.0], [["a", "b"]], share=1.5)
    store.close()


def test_the_error_for_an_invalid_score_names_the_prompt(tmp_path: object) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    project(store, 2)
    with pytest.raises(DataError, match="prompt 'p0': scores must be finite"):
        reorder(store, "films", lambda prompt, some: [math.nan] * len(some))
    store.close()
