"""Label Studio's exports with one annotation a row: choices, rankings and ratings, grouped by task."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Preference, Ranking, RatedText
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

ANSWERS = {"prompt": "Name a film.", "response1": "Ran.", "response2": "No."}
ITEMS = {
    "prompt": "Name a film.",
    "items": [{"id": name, "title": name, "body": f"text {name}"} for name in ("x", "y", "z")],
}
RATED = {"prompt": "Name a film.", "response": "Ran."}


def annotation(data: dict[str, Any], task: int = 7, person: Any = 1, minute: int = 0, **controls: Any) -> Any:
    time = f"2024-05-01T10:{minute:02d}:00.000000Z"
    about = {"annotator": person, "annotation_id": minute + 100, "created_at": time, "updated_at": time}
    return {**data, "id": task, **controls, **about, "lead_time": 8.5}


def votes(*sides: Any, name: str = "preference") -> list[Any]:
    return [annotation(ANSWERS, person=n, **{name: side}) for n, side in enumerate(sides, start=1)]


@pytest.mark.parametrize("left", ["left", "response1", [{"selected": "left"}]])
@pytest.mark.parametrize("name", ["preference", "pw"])
def test_annotations_of_a_task_are_counted_together(rows_file: Callable[..., Path], left: Any, name: str) -> None:
    right = [{"selected": "right"}] if isinstance(left, list) else "right"
    other = annotation({**ANSWERS, "response1": "Ikiru."}, task=8, **{name: left})
    inspection = inspect(rows_file(*votes(left, left, right, name=name), other))
    assert inspection.kind is Preference
    assert inspection.evidence == "it has the columns annotator, annotation_id, lead_time"
    assert [(r.chosen.text, round(r.probability, 4)) for r in inspection.records] == [
        ("Ran.", 0.6667),
        ("Ikiru.", 1),
    ]
    assert inspection.refused == []


def test_a_tie_is_half_a_vote_and_the_control_is_read(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(*votes("right", "tie")))
    (record,) = inspection.records
    assert (record.chosen.text, record.probability) == ("No.", 0.75)
    assert "preference" not in inspection.unread


def test_a_persons_last_annotation_counts_though_an_export_has_it_first(rows_file: Callable[..., Path]) -> None:
    rows = [annotation(ANSWERS, minute=m, preference=s) for m, s in ((9, "right"), (3, "left"))]
    (record,) = read_records(Preference, rows_file(*rows))
    assert (record.chosen.text, record.probability) == ("No.", 1)


@pytest.mark.parametrize("cell", [[{"ranker": {"rank": ["y", "x"]}}], {"rankings": ["y", "x"]}])
def test_rankings_are_one_for_each_annotator(rows_file: Callable[..., Path], cell: Any) -> None:
    rows = [annotation(ITEMS, person=n, rank=cell) for n in (1, 2)]
    path = rows_file(*rows)
    assert inspect(path).kind is Ranking
    records = read_records(Ranking, path)
    assert [([one.text for one in r.completions], r.weight) for r in records] == [(["text y", "text x"], 0.5)] * 2
    assert [r.probability for r in read_records(Preference, path)] == [1]


@pytest.mark.parametrize("cells", [([{"rating": 4}], [{"rating": 2}]), (4, 2)])
def test_ratings_have_their_raters(rows_file: Callable[..., Path], cells: Any) -> None:
    people = {"email": "a@b.c"}, 3
    rows = [annotation(RATED, person=p, quality=c) for p, c in zip(people, cells, strict=True)]
    inspection = inspect(rows_file(*rows))
    assert inspection.kind is RatedText
    (record,) = inspection.records
    assert (record.id, record.text, record.ratings, record.raters) == ("7", "Ran.", (4, 2), ("a@b.c", "3"))
    assert record.prompt.messages[0].content == "Name a film."


def test_a_table_holds_the_same_as_json(tmp_path: Path) -> None:
    rows = [
        annotation(ITEMS, person=n, rank=[{"ranker": {"rank": order}}])
        for n, order in ((1, ["z", "x", "y"]), (2, ["x", "z"]))
    ]
    path = tmp_path / "export.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, sorted(rows[0]))
        writer.writeheader()
        writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    first, second = read_records(Ranking, path)
    assert [one.text for one in first.completions] == ["text z", "text x", "text y"]
    assert [one.text for one in second.completions] == ["text x", "text z"]


def test_tasks_that_nobody_annotated_are_not_used(rows_file: Callable[..., Path]) -> None:
    bare = {**ANSWERS, "id": 9, "annotator": None, "annotation_id": None, "lead_time": None}
    inspection = inspect(rows_file(*votes("left"), bare))
    assert [one.reason for one in inspection.refused] == ["nobody has annotated it"]


def test_an_annotation_that_holds_nothing_to_compare_is_unused(rows_file: Callable[..., Path]) -> None:
    bare = annotation({"text_1": "x", "text_2": "y"}, task=9)
    inspection = inspect(rows_file(*votes("left"), bare))
    reason = "its annotation has no choice between two answers, no ranking and no rating"
    assert [one.reason for one in inspection.refused] == [reason]
    with pytest.raises(DataError, match=f"only row is refused, line 1: {reason}"):
        inspect(rows_file(bare))


def test_an_annotation_that_is_exported_twice_counts_once(rows_file: Callable[..., Path]) -> None:
    named = votes("left", "right")
    unnamed = [annotation(ANSWERS, task=8, person=None, minute=n, pw="left" if n else "right") for n in (0, 1)]
    inspection = inspect(rows_file(named[0], *named, *unnamed, unnamed[1]))
    assert [(r.chosen.text, r.probability) for r in inspection.records] == [("Ran.", 0.5), ("Ran.", 0.5)]
    assert (inspection.rows, inspection.joined, inspection.refused) == (6, 4, [])


def test_data_in_the_columns_of_another_layout_are_still_annotations(rows_file: Callable[..., Path]) -> None:
    data = {"instruction": "Name a film.", "output": "Ran."}
    path = rows_file(annotation(data, stars=[{"rating": 5}]))
    assert inspect(path).kind is RatedText
    (record,) = read_records(Demonstration, path)
    assert record.completion.text == "Ran."


@pytest.mark.parametrize(
    ("controls", "reason"),
    [
        ({"preference": "the first one"}, "preference is 'the first one', which is no verdict between response1"),
        ({"helpful": "left", "safe": "right"}, "an annotation has several results, helpful, safe; export one"),
        ({"helpful": [{"selected": "up"}]}, "helpful is 'up', which is no verdict"),
    ],
)
def test_damaged_annotations_are_refused(rows_file: Callable[..., Path], controls: Any, reason: str) -> None:
    with pytest.raises(DataError, match=rf"line 2: .*{reason}"):
        read_records(Preference, rows_file(*votes("left"), annotation(ANSWERS, task=8, **controls)))


def test_of_several_controls_the_one_of_the_wanted_kind_is_read(rows_file: Callable[..., Path]) -> None:
    path = rows_file(annotation(ANSWERS, clear=[{"rating": 3}], pw=[{"selected": "right"}], comment="b"))
    (record,) = read_records(Preference, path)
    assert record.chosen.text == "No."


def test_a_conversation_may_be_the_prompt(rows_file: Callable[..., Path]) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    dialogue = [*turns, {"role": "user", "content": "Name a film."}]
    answers = {name: ANSWERS[name] for name in ("response1", "response2")}
    inspection = inspect(
        rows_file(
            annotation({**answers, "dialogue": dialogue}, pw="left"), annotation(answers, task=8, pw="left")
        )
    )
    assert [turn.content for turn in inspection.records[0].prompt.messages] == ["Hi", "Hello!", "Name a film."]
    reason = "it has no prompt; give it one under prompt, instruction, question or messages"
    assert [one.reason for one in inspection.refused] == [reason]
