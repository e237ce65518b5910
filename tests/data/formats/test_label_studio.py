"""Label Studio exports: choices, rankings and ratings of several annotators."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Preference, Ranking, RatedText
from gnomon.data.conversion import Conversion, convert_file
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


PAIRS: list[dict[str, Any]] = [
    {"prompt": "Name a film.", "chosen": "Ran.", "rejected": "No."},
    {"prompt": "选一部电影", "chosen": "花样年华", "rejected": "不", "probability": 0.75, "margin": 2.0},
    {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "chosen": "x",
        "rejected": "y",
        "probability": 0.5,
    },
    {"prompt": "\n\nHuman: is a text", "chosen": "x", "rejected": "y"},
]


def converted(folder: Path, *rows: dict[str, Any]) -> tuple[Conversion, Path]:
    source, out = folder / "rows.jsonl", folder / "tasks.json"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return convert_file(source, out, "label-studio", overwrite=True), out


def test_written_pairs_are_tasks_with_a_vote_an_annotation_and_are_read_back(tmp_path: Path) -> None:
    """Three votes of four are 0.75, one of two is a tie; the margin is counted as left out."""
    conversion, out = converted(tmp_path, *PAIRS)
    tasks = json.loads(out.read_text(encoding="utf-8"))
    assert [[note["result"][0]["value"]["selected"] for note in task["annotations"]] for task in tasks] == [
        ["left"],
        ["left", "left", "left", "right"],
        ["left", "right"],
        ["left"],
    ]
    assert tasks[0]["data"] == {"prompt": "Name a film.", "answer1": "Ran.", "answer2": "No."}
    assert conversion.left_out == {"margins": 1}
    before = read_records(Preference, tmp_path / "rows.jsonl")
    after = read_records(Preference, out)
    assert [replace(one, margin=0.0) for one in after] == [replace(one, margin=0.0) for one in before]


def test_written_rankings_and_ratings_are_read_back(tmp_path: Path) -> None:
    rankings = [{"prompt": "q", "completions": ["a", "b", "c"]}, {"prompt": "r", "completions": ["x", "y"]}]
    _, out = converted(tmp_path, *rankings)
    assert read_records(Ranking, out) == read_records(Ranking, tmp_path / "rows.jsonl")
    ratings = [
        {"id": "7", "text": "t", "prompt": "q", "ratings": [1, 4.5], "raters": ["a@b.c", "d@e.f"]},
        {"id": "8", "text": "u", "ratings": [3]},
    ]
    _, out = converted(tmp_path, *ratings)
    (first, second) = read_records(RatedText, out)
    assert [(r.id, r.text, r.ratings, r.raters) for r in (first, second)] == [
        ("7", "t", (1, 4.5), ("a@b.c", "d@e.f")),
        ("8", "u", (3,), ()),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"prompt": "q", "chosen": "a", "rejected": "b", "probability": 0.777},
            "Label Studio's tasks have votes, and no 20 votes have a share of 0.777",
        ),
        (
            {"prompt": "q", "chosen": [{"role": "assistant", "content": "a", "reasoning_content": "h"}],
             "rejected": "b"},
            "Label Studio's tasks have no place for reasoning_content, which a turn has",
        ),
        (
            {"prompt": "q", "tools": [{"type": "function", "function": {"name": "f"}}], "chosen": "a",
             "rejected": "b"},
            "Label Studio's tasks have no place for tools, which the prompt has",
        ),
    ],
)  # fmt: skip
def test_what_a_task_has_no_place_for_is_refused(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    conversion, _ = converted(tmp_path, PAIRS[0], row)
    assert (conversion.written, list(conversion.rejected)) == (1, [reason])


def test_tasks_are_one_json_list(tmp_path: Path) -> None:
    converted(tmp_path, *PAIRS)
    with pytest.raises(ConfigError, match=r"a JSON list is written; give a name that ends in \.json\."):
        convert_file(tmp_path / "rows.jsonl", tmp_path / "tasks.jsonl", "label-studio")
    with pytest.raises(ConfigError, match=r"JSON lines are written; give a name that ends in \.jsonl\."):
        convert_file(tmp_path / "rows.jsonl", tmp_path / "rows.json", "trl")
