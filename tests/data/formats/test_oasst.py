"""OpenAssistant: rankings at every depth from messages and from trees; broken trees are refused row by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.types import Preference, Ranking
from gnomon.data.inspection import inspect
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.records import read_records


def message(name: str, parent: str | None, rank: Any = None, *, tree: str = "t", **more: Any) -> dict[str, Any]:
    role = "assistant" if name.startswith("a") else "prompter"
    ids = {"message_id": name, "parent_id": parent, "message_tree_id": tree}
    return {**ids, "text": f"text {name}", "role": role, "rank": rank, "deleted": False, **more}


TREE = [
    message("p1", None),
    message("a1", "p1", 1),
    message("p2", "a1"),
    message("a3", "p2", 0),
    message("a4", "p2", 1),
    message("a2", "p1", 0),
]


def texts(record: Any) -> tuple[list[str], list[str]]:
    return [turn.content for turn in record.prompt.messages], [one.text for one in record.completions]


RANKINGS = [
    (["text p1"], ["text a2", "text a1"]),
    (["text p1", "text a1", "text p2"], ["text a3", "text a4"]),
]


def test_replies_are_ranked_at_every_depth(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(*TREE))
    assert inspection.kind is Ranking
    assert [texts(record) for record in inspection.records] == RANKINGS
    assert [record.where.rpartition(", ")[2] for record in inspection.records] == ["line 1", "line 3"]
    assert inspection.refused == []


def nested(name: str, *replies: dict[str, Any], rank: Any = None) -> dict[str, Any]:
    return {**message(name, None, rank), "replies": list(replies)}


def test_a_nested_tree_has_the_same_rankings(rows_file: Callable[..., Path]) -> None:
    second = nested("p2", nested("a3", rank=0), nested("a4", rank=1))
    tree = nested("p1", nested("a1", second, rank=1), nested("a2", rank=0))
    alone = nested("p9", nested("a9", rank=0))
    path = rows_file({"message_tree_id": "t", "prompt": tree}, {"message_tree_id": "u", "prompt": alone})
    inspection = inspect(path)
    assert [texts(record) for record in inspection.records] == RANKINGS
    assert [one.reason for one in inspection.refused] == ["none of its messages has two ranked replies"]


def test_a_deep_tree_is_read_without_recursion(rows_file: Callable[..., Path]) -> None:
    rows = [message("p0", None)]
    for depth in range(1, 3000):
        rows.append(message(f"{'a' if depth % 2 else 'p'}{depth}", rows[-1]["message_id"], 0))
    rows.append(message("a-other", "p2998", 1))
    (record,) = read_records(Ranking, rows_file(*rows))
    assert len(record.prompt.messages) == 2999


def test_equal_ranks_are_a_tie(rows_file: Callable[..., Path]) -> None:
    rows = message("p1", None), message("a1", "p1", 0), message("a2", "p1", 0), message("a3", "p1", 1)
    records = read_records(Preference, rows_file(*rows))
    assert [(r.chosen.text, r.rejected.text, r.probability, r.margin) for r in records] == [
        ("text a1", "text a2", 0.5, 0),
        ("text a1", "text a3", 1, 0),
        ("text a2", "text a3", 1, 0),
    ]


def test_messages_in_no_ranking_are_unused_with_the_reason(rows_file: Callable[..., Path]) -> None:
    rows = [*TREE, message("a5", "p1"), message("p6", "a2"), message("a7", "p6", 0, deleted=True)]
    unused = {one.where: one.reason for one in inspect(rows_file(*rows)).refused}
    assert unused == {
        "line 7": "it is a reply without a rank, or the only one with a rank",
        "line 8": "it has fewer than two ranked replies",
        "line 9": "it, or a message before it, is deleted",
    }


def test_cycles_and_orphans_are_refused_and_the_rest_is_read(rows_file: Callable[..., Path]) -> None:
    rows = [
        *TREE,
        message("a8", "p9"),
        message("p9", "a8"),
        message("a10", "nowhere", 0),
        message("a11", "a11", 0),
        message("a1", "p1", 2),
    ]
    inspection = inspect(rows_file(*rows))
    assert [texts(record) for record in inspection.records] == RANKINGS
    reasons = {one.where: one.reason.partition(";")[0] for one in inspection.refused}
    assert reasons == {
        "line 11": "its message_id, a1, is also at line 2",
        "line 7": "message a8: its parents lead to no root (parent_id p9)",
        "line 8": "message p9: its parents lead to no root (parent_id a8)",
        "line 9": "message a10: its parent is not in its tree (parent_id nowhere)",
        "line 10": "message a11: its parents lead to no root (parent_id a11)",
    }


def test_rows_of_a_tree_that_stand_apart_are_refused(rows_file: Callable[..., Path]) -> None:
    other = [message("p7", None, tree="u"), message("a7", "p7", 0, tree="u"), message("a8", "p7", 1, tree="u")]
    inspection = inspect(rows_file(*TREE, *other, message("a9", "p1", 2)))
    assert len(inspection.records) == 3
    (refused,) = inspection.refused
    assert refused.reason.startswith("other rows of its tree, t, stand earlier; sort the file by tree")


def test_not_a_number_is_no_rank_and_no_parent(rows_file: Callable[..., Path]) -> None:
    nan = float("nan")
    first = {**message("p1", None), "parent_id": nan, "rank": nan}
    rows = first, message("a1", "p1", 0.0), message("a2", "p1", 1.0), message("a3", "p1", nan)
    (record,) = read_records(Ranking, rows_file(*rows))
    assert [one.text for one in record.completions] == ["text a1", "text a2"]


def test_an_empty_id_is_refused(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(*TREE, message("", None), message("", "")))
    assert [one.reason.partition(";")[0] for one in inspection.refused] == ["its message_id is empty"] * 2


def test_an_unknown_role_is_refused(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(*TREE, {**message("x", "p1"), "role": "moderator"}))
    assert inspection.refused[0].reason.startswith("role is 'moderator', which is none of prompter and assistant")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("deleted", True, "it, or a message before it, is deleted"),
        ("review_result", False, "it, or a message before it, was rejected by its reviewers"),
        ("synthetic", True, "it, or a message before it, is synthetic: a model wrote it"),
    ],
)
def test_messages_that_openassistant_leaves_out_are_unused_with_what_follows(
    rows_file: Callable[..., Path], column: str, value: bool, reason: str
) -> None:
    normal = {"deleted": False, "review_result": True, "synthetic": False}
    rows = [{**row, **normal} for row in [*TREE, message("a5", "p1", 2)]]
    rows[1][column] = value  # a1, before p2
    inspection = inspect(rows_file(*rows))
    assert [texts(record) for record in inspection.records] == [(["text p1"], ["text a2", "text a5"])]
    unused = {one.where: one.reason for one in inspection.refused}
    assert unused == dict.fromkeys(("line 2", "line 3", "line 4", "line 5"), reason)


def test_a_review_that_is_not_known_leaves_nothing_out(rows_file: Callable[..., Path]) -> None:
    rows = [{**row, "review_result": None, "synthetic": None, "tree_state": None} for row in TREE]
    assert [texts(record) for record in inspect(rows_file(*rows)).records] == RANKINGS


def test_trees_that_are_not_ready_for_export_are_unused(rows_file: Callable[..., Path]) -> None:
    ready = [{**row, "tree_state": "ready_for_export"} for row in TREE]
    stopped = [
        {**message(name, parent, rank, tree="u"), "tree_state": "halted_by_moderator"}
        for name, parent, rank in (("p7", None, None), ("a7", "p7", 0), ("a8", "p7", 1))
    ]
    inspection = inspect(rows_file(*ready, *stopped))
    assert [texts(record) for record in inspection.records] == RANKINGS
    reason = "its tree is not ready for export: tree_state is 'halted_by_moderator'"
    assert [one.reason for one in inspection.refused] == [reason] * 3


def test_nested_trees_leave_out_the_same_and_name_it(rows_file: Callable[..., Path]) -> None:
    second = nested("p2", nested("a3", rank=0), nested("a4", rank=1))
    bad = {**nested("a1", second, rank=1), "review_result": False}
    tree = nested("p1", bad, nested("a2", rank=0), nested("a5", rank=2))
    lost = {"message_tree_id": "u", "tree_state": "aborted_low_grade", "prompt": nested("p1", *tree["replies"])}
    path = rows_file({"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": tree}, lost)
    inspection = inspect(path)
    assert [texts(record) for record in inspection.records] == [(["text p1"], ["text a2", "text a5"])]
    assert [(one.where, one.reason) for one in inspection.refused] == [
        ("line 1", "a message of the tree was rejected by its reviewers; it and its replies are left out"),
        ("line 2", "its tree is not ready for export: tree_state is 'aborted_low_grade'"),
    ]
    keys = KeysRead()
    read_records(Ranking, path, keys)
    assert keys.unused.total() == 2
