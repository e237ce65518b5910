"""Label Studio exports: choices, rankings and ratings of several annotators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking, RatedText
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

ANSWERS = {"prompt": "Name a film.", "answer1": "Ran.", "answer2": "No."}
ITEMS = {
    "prompt": "Name a film.",
    "items": [{"id": name, "title": name, "body": f"text {name}"} for name in ("x", "y", "z")],
}


def result(kind: str, value: Any, name: str = "q") -> dict[str, Any]:
    return {"id": "r", "from_name": name, "to_name": "a", "type": kind, "value": value}


def annotation(person: Any, *results: dict[str, Any], skipped: bool = False) -> dict[str, Any]:
    return {"id": 1, "completed_by": person, "was_cancelled": skipped, "result": list(results)}


def export(path: Path, *tasks: tuple[dict[str, Any], list[dict[str, Any]]]) -> Path:
    rows = [
        {"id": n, "data": data, "annotations": notes, "predictions": []} for n, (data, notes) in enumerate(tasks)
    ]
    path = path / "export.json"
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return path


def choice(person: Any, side: str, **more: Any) -> dict[str, Any]:
    return annotation(person, result("pairwise", {"selected": side}), **more)


def test_choices_of_several_annotators_are_the_probability(tmp_path: Path) -> None:
    votes = [choice(1, "left"), choice({"id": 2, "email": "b@c.de"}, "left"), choice(3, "right")]
    skipped = [choice(4, "right", skipped=True), annotation(5)]
    path = export(tmp_path, (ANSWERS, votes + skipped), (ANSWERS, skipped))
    inspection = inspect(path)
    assert inspection.kind is Preference
    (record,) = inspection.records
    assert (record.chosen.text, round(record.probability, 4)) == ("Ran.", 0.6667)
    assert [one.reason for one in inspection.refused] == ["nobody has annotated it"]


def test_a_later_annotation_of_a_person_replaces_the_earlier(tmp_path: Path) -> None:
    (record,) = read_records(Preference, export(tmp_path, (ANSWERS, [choice(1, "left"), choice(1, "right")])))
    assert (record.chosen.text, record.probability) == ("No.", 1)


def test_verdicts_may_be_choices(tmp_path: Path) -> None:
    notes = [annotation(n, result("choices", {"choices": [word]})) for n, word in enumerate(["answer2", "tie"])]
    (record,) = read_records(Preference, export(tmp_path, (ANSWERS, notes)))
    assert (record.chosen.text, record.probability) == ("No.", 0.75)


def test_rankings_are_one_for_each_annotator_and_pairs_count_them_all(tmp_path: Path) -> None:
    orders = [["x", "y", "z"], {"rank": ["y", "x", "z"]}]
    path = export(
        tmp_path, (ITEMS, [annotation(n, result("ranker", {"ranker": o})) for n, o in enumerate(orders)])
    )
    rankings = read_records(Ranking, path)
    assert [[one.text for one in record.completions] for record in rankings] == [
        ["text x", "text y", "text z"],
        ["text y", "text x", "text z"],
    ]
    assert [record.weight for record in rankings] == [0.5, 0.5]
    pairs = [(r.chosen.text, r.rejected.text, r.probability) for r in read_records(Preference, path)]
    assert pairs == [("text x", "text y", 0.5), ("text x", "text z", 1), ("text y", "text z", 1)]


def test_ratings_have_their_raters(tmp_path: Path) -> None:
    data = {"prompt": "Name a film.", "response": "Ran."}
    notes = [annotation(n, result("rating", {"rating": n + 2})) for n in (7, 8)]
    inspection = inspect(export(tmp_path, (data, notes)))
    assert inspection.kind is RatedText
    (record,) = inspection.records
    assert (record.id, record.text, record.ratings, record.raters) == ("0", "Ran.", (9, 10), ("7", "8"))


@pytest.mark.parametrize(
    ("data", "results", "reason"),
    [
        (ANSWERS, [result("pairwise", {"selected": "middle"})], "q is 'middle', which is no verdict"),
        (
            ANSWERS,
            [result("pairwise", {"selected": "left"}, name) for name in ("good", "safe")],
            "an annotation has several results, good, safe; export one question at a time",
        ),
        (ITEMS, [result("ranker", {"ranker": {"best": ["x"], "ads": ["y"]}})], "a ranking is in buckets"),
        (
            ITEMS,
            [result("ranker", {"ranker": ["x", "w"]})],
            "a ranking has 'w' in it, and the answers are x, y, z",
        ),
        (ITEMS, [result("ranker", {"ranker": ["x", "x"]})], "a ranking has 'x' in it, twice"),
        (ITEMS, [result("pairwise", {"selected": "left"})], "its data have no two, such as answer1 and answer2"),
    ],
)
def test_damaged_tasks_are_refused(tmp_path: Path, data: Any, results: Any, reason: str) -> None:
    with pytest.raises(DataError, match=rf"row 1: .*{reason}"):
        read_records(Preference, export(tmp_path, (data, [annotation(1, *results)])))


@pytest.mark.parametrize(
    ("shown", "chosen"), [(["answer1", "answer2"], "A1"), (["answer2", "answer1"], "A2"), (None, "A1")]
)
def test_left_is_the_first_answer_of_the_page(tmp_path: Path, shown: list[str] | None, chosen: str) -> None:
    result: dict[str, Any] = {"type": "pairwise", "value": {"selected": "left"}, "from_name": "pw"}
    if shown:
        result["to_name"] = shown
    task = {
        "id": 1,
        "data": {"prompt": "q", "answer1": "A1", "answer2": "A2"},
        "annotations": [{"id": 1, "completed_by": 1, "result": [result]}],
    }
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps([task]), encoding="utf-8")
    (record,) = inspect(file).records
    assert record.chosen.text == chosen
