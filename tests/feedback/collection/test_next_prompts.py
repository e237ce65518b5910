"""Prompts of the next round: begun ones first, each used once, without near-duplicates of used ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from collecting import noise
from tiny import prompts_of

from gnomon.core.types import Completion
from gnomon.feedback.collection.next_prompts import next_prompts
from gnomon.feedback.selection.prompts import PromptMix
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store

MIX = PromptMix(high_value=1, under_covered=0, edge=0, random=0)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """Six prompts of rising value; p0 has an item, p1 two completions and p2 one."""
    feedback_store = Store(database)
    feedback_store.add_project(Project("p", "Which is better?", "pair", 1, 1))
    bank = prompts_of(*map(noise, range(6)))
    add_prompts(feedback_store, "p", [BankPrompt(one, value=n / 10) for n, one in enumerate(bank)])
    texts = [(0, "a"), (0, "b"), (1, "c"), (1, "d"), (2, "e")]
    add_completions(feedback_store, "p", [(f"p{n}", Completion(name, noise(name)), {}) for n, name in texts])
    add_items(feedback_store, "p", [["a", "b"]])
    yield feedback_store
    feedback_store.close()


def chosen(store: Store, count: int, *, generates: bool = True, tried: tuple[str, ...] = ()) -> list[str]:
    prompts = next_prompts(store, "p", count, MIX, generates=generates, tried=tried)
    return [prompt.id for prompt in prompts]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, ["p1"]), (3, ["p1", "p2", "p5"]), (9, ["p1", "p2", "p5", "p4", "p3"])]
)
def test_prompts_that_were_begun_come_before_the_mix(store: Store, count: int, expected: list[str]) -> None:
    assert chosen(store, count) == expected


def test_without_a_generator_only_enough_completions_count(store: Store) -> None:
    assert chosen(store, 9, generates=False) == ["p1"]


def test_without_a_generator_one_completion_is_enough_for_scores(store: Store) -> None:
    store.add_project(Project("q", "How good?", "rating", 1, 1))
    add_prompts(store, "q", [BankPrompt(one) for one in prompts_of("One?", "Two?")])
    add_completions(store, "q", [("p1", Completion("x", "Text."), {})])
    assert [one.id for one in next_prompts(store, "q", 9, MIX, generates=False)] == ["p1"]


def test_prompts_that_were_tried_are_not_chosen_again(store: Store) -> None:
    assert chosen(store, 9, tried=("p1", "p5")) == ["p2", "p4", "p3"]


def test_near_duplicates_of_used_begun_and_tried_prompts_are_left_out(store: Store) -> None:
    prompts = prompts_of(*(noise(n) + "x" for n in (0, 2, 4)))
    add_prompts(store, "p", [BankPrompt(replace(one, id=f"near-{one.id}")) for one in prompts])
    assert chosen(store, 9, tried=("p4",)) == ["p1", "p2", "p5", "p3"]
