"""Valid preferences alone: resolved items, no ties, no judgements of paused annotators; on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from annotating import project, submit_choice, take
from tiny import prompts_of

from gnomon.core.types import Completion
from gnomon.feedback.collection.state import read_state
from gnomon.feedback.export.exporter import ExportSpec, export_rows, start_export
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import ItemRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.adjudication import decide
from gnomon.feedback.tasks.queue import NewJudgement, Queue


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    feedback_store = Store(database)
    yield feedback_store
    feedback_store.close()


def exported(store: Store, **settings: Any) -> tuple[list[tuple[str, float]], dict[str, int]]:
    """The chosen side and the probability of each preference, and what was left out."""
    manifest = start_export(store.project("films"), ExportSpec(valid_only=True, **settings))
    rows = [row for kind, row in export_rows(store, manifest) if kind == "preferences"]
    state = read_state(store, "films", ExportSpec(**settings))
    assert state.valid == len(rows), "a collection counts what an export writes"
    left_out = {reason: count for reason, count in manifest.left_out.items() if count}
    return [(row["chosen"]["id"], round(row["probability"], 3)) for row in rows], left_out


def by_item(store: Store) -> dict[int, int]:
    """The keys of the items by their number."""
    with store.reading() as session:
        return dict(enumerate(sorted(row.key for row in session.query(ItemRow).all())))


def test_items_that_are_not_resolved_or_tied_give_nothing(store: Store) -> None:
    """Six items: a wins 3 to 0 and 2 to 1; open with two votes; disputed; resolved as a tie, and as bad."""
    queue = project(store, 6, votes_per_item=3, max_votes=3)
    answers = ["aaa", "aab", "aa", ["a", "b", "tie"], ["tie", "tie", "a"], ["bad", "bad", "a"]]
    for index, who in enumerate(("ann", "bob", "cyd")):
        while (task := queue.take(who)) is not None:
            choices = answers[int(task.completions[0].id[1:])]
            if index < len(choices):
                submit_choice(queue, task, who, choices[index])
            else:
                queue.skip(who, task.item, "unclear")
    rows, left_out = exported(store)
    assert rows == [("a0", 1.0), ("a1", 0.667)]
    assert left_out == {"unresolved_items": 2, "tied_items": 1, "both_bad_items": 1}
    manifest = start_export(store.project("films"), ExportSpec())
    assert len([kind for kind, _ in export_rows(store, manifest) if kind == "preferences"]) == 6
    assert manifest.to_json().get("valid_only") is None


def all_agree(store: Store, items: int = 1, votes: int = 3) -> Queue:
    queue = project(store, items, votes_per_item=votes, max_votes=5)
    for who in ("ann", "bob", "cyd")[:votes]:
        while (task := queue.take(who)) is not None:
            submit_choice(queue, task, who, "a")
    return queue


@pytest.mark.parametrize("state", ["paused", "withdrawn"])
def test_votes_of_paused_and_withdrawn_annotators_do_not_resolve_an_item(store: Store, state: str) -> None:
    """Two of three votes are left: fewer than an item needs."""
    all_agree(store)
    assert exported(store)[0] == [("a0", 1.0)]
    store.set_annotator("cyd", state)
    assert exported(store) == ([], {f"{state}_judgements": 1, "unresolved_items": 1})
    store.set_annotator("cyd", "active")
    assert exported(store)[0] == [("a0", 1.0)]


def test_an_excluded_annotator_who_is_paused_is_counted_once(store: Store) -> None:
    all_agree(store, 2)
    store.set_annotator("cyd", "paused")
    _, left_out = exported(store, exclude_annotators=("cyd",))
    assert left_out == {"judgements_without": 2, "unresolved_items": 2}


def test_an_item_with_more_votes_than_it_needs_survives_a_pause(store: Store) -> None:
    """Three of five votes are for a; without one of them it is 2 to 2, without one for b 3 to 1."""
    queue = project(store, 1, votes_per_item=3, max_votes=5)
    for who, choice in (("ann", "a"), ("bob", "b"), ("cyd", "tie"), ("dan", "a"), ("eve", "a")):
        submit_choice(queue, take(queue, who), who, choice)
    assert exported(store)[0] == [("a0", 0.7)]
    store.set_annotator("ann", "paused")
    assert exported(store)[1]["unresolved_items"] == 1
    store.set_annotator("ann", "active")
    store.set_annotator("bob", "paused")
    assert exported(store)[0] == [("a0", 0.875)]


@pytest.mark.parametrize("order", ["at", "ta"])
def test_a_low_threshold_does_not_let_the_first_vote_decide(store: Store, order: str) -> None:
    """One vote for a and one tie are each half of the votes, above 0.4: the item is done, but nothing won."""
    queue = project(store, 1, votes_per_item=2, max_votes=2, consensus_threshold=0.4)
    for who, choice in zip(("ann", "bob"), order, strict=True):
        submit_choice(queue, take(queue, who), who, {"t": "tie"}.get(choice, choice))
    assert queue.progress()["done"] == 1
    assert exported(store) == ([], {"unresolved_items": 1})


def test_a_decision_resolves_an_item(store: Store) -> None:
    queue = project(store, 2, votes_per_item=2, max_votes=2)
    for who, choice in (("ann", "a"), ("bob", "b")):
        while (task := queue.take(who)) is not None:
            submit_choice(queue, task, who, choice)
    assert exported(store) == ([], {"unresolved_items": 2})
    store.add_annotator("rev", id="rev")
    first, second = by_item(store).values()
    decide(store, "films", first, "rev", {"choice": "second"}, id="d1")
    decide(store, "films", second, "rev", {"choice": "tie"}, id="d2")
    assert exported(store) == ([("b0", 1.0)], {"tied_items": 1})
    store.set_annotator("rev", "paused")
    assert exported(store) == ([], {"unresolved_items": 2})


def test_a_filter_and_confidence_leave_out_too(store: Store) -> None:
    """Margin 1/3 of two votes to one is below 0.5; a vote that is not sure leaves two, too few."""
    queue = project(store, 2, votes_per_item=3, max_votes=3)
    for who in ("ann", "bob", "cyd"):
        while (task := queue.take(who)) is not None:
            number = int(task.completions[0].id[1:])
            choice = "b" if (who, number) == ("cyd", 1) else "a"
            submit_choice(queue, task, who, choice, confidence=0.2 if (who, number) == ("bob", 0) else 0.9)
    rows, left_out = exported(store, filters={"margin": {"min_margin": 0.5}})
    assert (rows, left_out) == ([("a0", 1.0)], {"rows_dropped_by_margin": 1})
    rows, left_out = exported(store, min_confidence=0.5)
    assert (rows, left_out) == ([("a1", 0.667)], {"judgements_below_confidence": 1, "unresolved_items": 1})


def test_rankings_have_no_even_preferences(store: Store) -> None:
    """Both rank a first, and b and c the other way around: two preferences of three."""
    queue = project(store, 1, votes_per_item=2, max_votes=2, task="ranking", sides="abc", ranking_size=3)
    for who, order in (("ann", "abc"), ("bob", "acb")):
        task = take(queue, who)
        shown = [one.id[0] for one in task.completions]
        answer = {"order": [shown.index(side) for side in order]}
        queue.submit(NewJudgement(f"{who}-{task.item}", task.item, who, answer))
    rows, left_out = exported(store)
    assert (rows, left_out) == ([("a0", 1.0), ("a0", 1.0)], {"even_preferences": 1})


def test_completions_with_scores_count_if_their_items_are_resolved(store: Store) -> None:
    """Scores 9 and 9, 3 and 3, and 1 and 8, which no majority gives; so one pair of three."""
    store.add_project(Project("films", "How good?", "rating", 2, 2, settings={"criteria": ["kind"]}))
    add_prompts(store, "films", [BankPrompt(one) for one in prompts_of("Q?")])
    add_completions(store, "films", [("p0", Completion(name, name.upper()), {}) for name in "abc"])
    add_items(store, "films", [["a"], ["b"], ["c"]])
    queue, scores = Queue(store, "films"), {"a": (9, 9), "b": (3, 3), "c": (1, 8)}
    for index, who in enumerate(("ann", "bob")):
        store.add_annotator(who, id=who)
        while (task := queue.take(who)) is not None:
            answer = {"scores": [{"kind": scores[task.completions[0].id][index]}]}
            queue.submit(NewJudgement(f"{who}-{task.item}", task.item, who, answer))
    assert exported(store) == ([("a", 1.0)], {"unresolved_items": 1})


@pytest.mark.parametrize(
    ("choices", "rows", "reason"),
    [("a", [("a0", 1.0)], ""), ("ab", [], "unresolved_items"), ("tt", [], "tied_items")],
)
def test_closed_items_need_a_consensus_only(
    store: Store, choices: str, rows: list[tuple[str, float]], reason: str
) -> None:
    """Items that were imported with their judgements are closed, with any number of votes."""
    queue = project(store, 1, votes_per_item=3)
    for who, choice in zip(("ann", "bob"), choices, strict=False):
        submit_choice(queue, take(queue, who), who, {"t": "tie"}.get(choice, choice))
    with store.writing() as session:
        session.query(ItemRow).one().state = "closed"
    assert exported(store) == (rows, {reason: 1} if reason else {})
    state = read_state(store, "films", ExportSpec())
    assert (state.so_far.preferences, state.so_far.items) == (0, 0), "they are no yield of the collection"


def test_closed_scores_need_no_consensus(store: Store) -> None:
    """Imported ratings: 7, 8 and 9 against 1, 2 and 3."""
    store.add_project(Project("films", "How good?", "rating", 3, 3, settings={"criteria": ["kind"]}))
    add_prompts(store, "films", [BankPrompt(one) for one in prompts_of("Q?")])
    add_completions(store, "films", [("p0", Completion(name, name.upper()), {}) for name in "ab"])
    add_items(store, "films", [["a"], ["b"]])
    queue, scores = Queue(store, "films"), {"a": (7, 8, 9), "b": (1, 2, 3)}
    for index, who in enumerate(("ann", "bob", "cyd")):
        store.add_annotator(who, id=who)
        while (task := queue.take(who)) is not None:
            answer = {"scores": [{"kind": scores[task.completions[0].id][index]}]}
            queue.submit(NewJudgement(f"{who}-{task.item}", task.item, who, answer))
    assert exported(store) == ([], {"unresolved_items": 2})
    with store.writing() as session:
        for row in session.query(ItemRow).all():
            row.state = "closed"
    assert exported(store) == ([("a", 1.0)], {})


@pytest.mark.parametrize("aggregation", ["reliability", "dawid_skene", "bradley_terry"])
def test_every_aggregation_leaves_out_the_same_items(store: Store, aggregation: str) -> None:
    all_agree(store, 3)
    store.add_annotator("dan", id="dan")
    add_completions(store, "films", [("p0", Completion("c0", "c of 0"), {})])
    add_items(store, "films", [["a0", "c0"]])
    queue = Queue(store, "films")
    task = take(queue, "ann")
    queue.submit(NewJudgement("last", task.item, "ann", {"choice": "first"}))
    rows, left_out = exported(store, aggregation=aggregation)
    assert [name for name, _ in rows] == ["a0", "a1", "a2"]
    assert left_out == {"unresolved_items": 1}
