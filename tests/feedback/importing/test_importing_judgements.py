"""Choices and rankings of other tools become judgements of named annotators, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gnomon.api.feedback.projects import feedback_import_judgements, feedback_import_ratings, feedback_init
from gnomon.core.errors import ConfigError, DataError
from gnomon.feedback.export.exporter import ExportSpec, export_rows, start_export
from gnomon.feedback.store.ingest import IngestCounts
from gnomon.feedback.store.schema import AnnotatorRow, ItemRow, JudgementRow
from gnomon.feedback.store.store import Project, Store

PAIR = {"prompt": "Name a film.", "answer1": "Ran.", "answer2": "No."}
LIST = {"prompt": "Name a film.", "items": [{"id": name, "body": f"Film {name}"} for name in ("x", "y", "z")]}


def notes(kind: str, *values: tuple[str, Any]) -> list[dict[str, Any]]:
    return [
        {"completed_by": {"email": person}, "result": [{"from_name": "q", "type": kind, "value": value}]}
        for person, value in values
    ]


def export(folder: Path, *tasks: tuple[dict[str, Any], list[dict[str, Any]]]) -> Path:
    path = folder / "export.json"
    path.write_text(
        json.dumps([{"id": n, "data": data, "annotations": own} for n, (data, own) in enumerate(tasks)])
    )
    return path


def side(person: str, selected: str) -> tuple[str, dict[str, str]]:
    return person, {"selected": selected}


def exported(database: str, project: str, kind: str) -> list[dict[str, Any]]:
    store = Store(database)
    rows = [
        row for own, row in export_rows(store, start_export(store.project(project), ExportSpec())) if own == kind
    ]
    store.close()
    return rows


def test_choices_are_judgements_of_a_new_project_of_pairs(database: str, tmp_path: Path) -> None:
    votes = notes("pairwise", side("ann", "left"), side("bob", "left"), side("eve", "right"))
    path = export(tmp_path, (PAIR, votes), (PAIR, []))
    assert feedback_import_judgements(database, "old", path) == IngestCounts(3, 0)
    assert feedback_import_judgements(database, "old", path) == IngestCounts(0, 3)
    (row,) = exported(database, "old", "preferences")
    assert (row["chosen"]["text"], row["rejected"]["text"]) == ("Ran.", "No.")
    assert row["probability"] == pytest.approx(2 / 3)
    store = Store(database)
    with store.reading() as session:
        assert set(session.scalars(select(AnnotatorRow.name))) == {"ann", "bob", "eve"}
        assert set(session.scalars(select(ItemRow.state))) == {"closed"}
    assert store.project("old").task == "pair"
    store.close()


def flat(person: str, minute: int, **control: Any) -> dict[str, Any]:
    """A row of Label Studio's JSON-MIN export."""
    about = {"annotator": person, "annotation_id": minute, "created_at": f"2024-05-01T10:{minute:02d}:00Z"}
    return {**PAIR, "id": 1, **control, **about, "lead_time": 3.5}


def test_flat_rows_of_one_task_are_judgements_of_one_item(database: str, tmp_path: Path) -> None:
    """An export has the last annotation of a task first; that of ann corrects her earlier one."""
    rows = [flat("ann", 3, pw=[{"selected": "right"}]), flat("bob", 2, pw=[{"selected": "right"}])]
    path = tmp_path / "min.json"
    path.write_text(json.dumps([*rows, flat("ann", 1, pw=[{"selected": "left"}])]))
    assert feedback_import_judgements(database, "old", path) == IngestCounts(2, 0)
    (row,) = exported(database, "old", "preferences")
    assert (row["chosen"]["text"], row["probability"]) == ("No.", 1)
    path.write_text(json.dumps([rows[0], flat("bob", 2, pw=[{"selected": "up"}])]))
    with pytest.raises(DataError, match="row 2: pw is 'up', which is no verdict between answer1 and answer2"):
        feedback_import_judgements(database, "old", path)


def test_a_changed_choice_corrects_the_earlier_one(database: str, tmp_path: Path) -> None:
    feedback_import_judgements(database, "old", export(tmp_path, (PAIR, notes("pairwise", side("ann", "left")))))
    swapped = {**PAIR, "answer1": "No.", "answer2": "Ran."}
    same = export(tmp_path, (swapped, notes("pairwise", side("ann", "right"))))
    assert feedback_import_judgements(database, "old", same) == IngestCounts(0, 1)
    changed = export(tmp_path, (swapped, notes("pairwise", side("ann", "left"))))
    assert feedback_import_judgements(database, "old", changed) == IngestCounts(1, 0)
    (row,) = exported(database, "old", "preferences")
    assert row["chosen"]["text"] == "No."
    store = Store(database)
    with store.reading() as session:
        assert len(session.scalars(select(JudgementRow)).all()) == 2
    store.close()


def test_rankings_are_judgements_of_a_project_of_rankings(database: str, tmp_path: Path) -> None:
    orders = notes("ranker", ("ann", {"ranker": ["y", "x", "z"]}), ("bob", {"ranker": ["y", "z", "x"]}))
    assert feedback_import_judgements(database, "old", export(tmp_path, (LIST, orders))) == IngestCounts(2, 0)
    best = {row["completions"][0]["text"] for row in exported(database, "old", "rankings")}
    assert best == {"Film y"}


def test_columns_of_annotators_are_their_names_and_unnamed_votes_anonymous(database: str, tmp_path: Path) -> None:
    row = {"instruction": "Name a film.", "response1": "Ran.", "response2": "No."}
    path = tmp_path / "votes.jsonl"
    path.write_text(json.dumps({**row, "annotator1": 1, "annotator2": 0, "annotator3": 2}) + "\n")
    assert feedback_import_judgements(database, "old", path) == IngestCounts(3, 0)
    one = {"instruction": "Name a river.", "response1": "Oder.", "response2": "No.", "preference": 1}
    path.write_text(json.dumps(one) + "\n")
    assert feedback_import_judgements(database, "old", path) == IngestCounts(1, 0)
    store = Store(database)
    with store.reading() as session:
        kinds = {row.name: row.kind for row in session.execute(select(AnnotatorRow.name, AnnotatorRow.kind))}
    store.close()
    assert kinds == {
        **dict.fromkeys(("annotator1", "annotator2", "annotator3"), "person"),
        "votes r00": "anonymous",
    }


def test_ratings_of_an_export_have_their_annotators(database: str, tmp_path: Path) -> None:
    rated = {"prompt": "Name a film.", "response": "Ran."}
    path = export(tmp_path, (rated, notes("rating", ("ann", {"rating": 4}), ("bob", {"rating": 2}))), (rated, []))
    assert feedback_import_ratings(database, "old", path) == IngestCounts(2, 0)
    rows = exported(database, "old", "judgements")
    assert sorted(row["value"][0] for row in rows) == [2, 4]


@pytest.mark.parametrize(
    ("data", "results", "reason"),
    [
        (PAIR, notes("pairwise", side("ann", "up")), "row 2: q is 'up', which is no verdict"),
        (
            {**PAIR, "prompt": ""},
            notes("pairwise", side("ann", "left")),
            "it has no prompt; give all such rows one",
        ),
    ],
)
def test_a_damaged_row_adds_nothing(
    database: str, tmp_path: Path, data: dict[str, Any], results: list[Any], reason: str
) -> None:
    path = export(tmp_path, (PAIR, notes("pairwise", side("ann", "left"))), (data, results))
    with pytest.raises(DataError, match=reason):
        feedback_import_judgements(database, "old", path)
    store = Store(database)
    assert store.projects() == []
    store.close()


def test_ties_and_parts_of_a_list_are_no_ranking(database: str, tmp_path: Path) -> None:
    path = export(tmp_path, (LIST, notes("ranker", ("ann", {"ranker": ["y", "x"]}))))
    with pytest.raises(DataError, match="a ranking has 2 of the 3 answers"):
        feedback_import_judgements(database, "old", path)
    feedback_init(database, Project("pairs", "?", "pair"))
    with pytest.raises(DataError, match="it has 3 answers, where the project compares two"):
        feedback_import_judgements(database, "pairs", path)


def test_other_projects_and_files_without_annotators_are_refused(database: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    with pytest.raises(DataError, match="holds no judgements of single annotators; give an export"):
        feedback_import_judgements(database, "old", path)
    path.write_text('{"question": "a", "response_j": "b", "response_k": "c"}\n')
    with pytest.raises(DataError, match="holds no judgements of single annotators; give an export"):
        feedback_import_judgements(database, "old", path)
    feedback_init(database, Project("scores", "?", "rating"))
    with pytest.raises(ConfigError, match="has scores, not choices; import them with --ratings"):
        feedback_import_judgements(database, "scores", path)
