"""Imported ratings become judgements once; a broken file changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from project import write_rows
from sqlalchemy import select
from tiny import prompts_of

from gnomon.core.errors import DataError
from gnomon.core.types import Completion
from gnomon.feedback.export.exporter import ExportSpec, export_rows, start_export
from gnomon.feedback.importing.ratings import import_ratings, scan_ratings
from gnomon.feedback.store.ingest import IngestCounts, add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import AnnotatorRow, ItemRow, JudgementRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.gold_items import mark_gold, unmark_gold
from gnomon.feedback.tasks.queue import Queue

SCALED = Project("r", "?", "rating", settings={"criteria": ["overall"], "scale": [-4, 4]})
(PROMPT,) = prompts_of("A film?")


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    feedback_store = Store(database)
    feedback_store.add_project(SCALED)
    yield feedback_store
    feedback_store.close()


def import_rows(store: Store, path: Path, rows: list[object], project: Project = SCALED) -> IngestCounts:
    write_rows(path, rows)
    return import_ratings(store, project, scan_ratings(path, PROMPT), "file")


def imported_ratings(store: Store) -> list[tuple[str, str, float]]:
    tally = start_export(SCALED, ExportSpec())
    rows = [row for kind, row in export_rows(store, tally) if kind == "judgements"]
    with store.reading() as session:
        names = {row.id: row.name for row in session.execute(select(AnnotatorRow.id, AnnotatorRow.name))}
    return sorted((row["shown"][0], names[row["rater"]], row["value"][0]) for row in rows)


def test_named_and_anonymous_ratings(store: Store, tmp_path: Path) -> None:
    rows: list[object] = [
        {"id": "x", "text": "Good.", "ratings": [3, -1.5]},
        {"id": "y", "text": "差。", "rater": "Ann", "rating": -4},
        {"id": "y", "text": "差。", "rater": "Bob", "value": "2"},
    ]
    assert import_rows(store, tmp_path / "r.jsonl", rows) == IngestCounts(4, 0)
    expected = [("x", "file r00", 3.0), ("x", "file r01", -1.5), ("y", "Ann", -4.0), ("y", "Bob", 2.0)]
    assert imported_ratings(store) == expected
    assert import_rows(store, tmp_path / "r.jsonl", rows) == IngestCounts(0, 4)
    assert imported_ratings(store) == expected
    with store.reading() as session:
        kinds = {row.name: row.kind for row in session.execute(select(AnnotatorRow.name, AnnotatorRow.kind))}
        assert set(session.scalars(select(ItemRow.state))) == {"closed"}
    assert (kinds["Ann"], kinds["file r00"]) == ("person", "anonymous")
    store.add_annotator("new", id="new")
    assert Queue(store, "r").take("new") is None  # closed for annotators
    with pytest.raises(Exception, match="are anonymous"):
        list(export_rows(store, start_export(SCALED, ExportSpec(aggregation="reliability"))))


def test_a_second_rating_by_the_same_rater_is_a_correction(store: Store, tmp_path: Path) -> None:
    row = {"text": "Good.", "rater": "Ann", "rating": 1}
    import_rows(store, tmp_path / "r.jsonl", [row])
    assert import_rows(store, tmp_path / "r.jsonl", [{**row, "rating": 2}]) == IngestCounts(1, 0)
    assert [(who, value) for _, who, value in imported_ratings(store)] == [("Ann", 2.0)]
    with store.reading() as session:
        assert len(session.scalars(select(JudgementRow)).all()) == 2


def test_the_last_rating_counts_even_if_it_repeats_an_earlier_one(store: Store, tmp_path: Path) -> None:
    rows: list[object] = [{"text": "Good.", "rater": "Ann", "rating": value} for value in (3, 2, 3)]
    assert import_rows(store, tmp_path / "r.jsonl", rows) == IngestCounts(3, 0)
    assert [value for _, _, value in imported_ratings(store)] == [3.0]
    assert import_rows(store, tmp_path / "r.jsonl", rows) == IngestCounts(0, 3)
    assert [value for _, _, value in imported_ratings(store)] == [3.0]


def test_imported_ratings_resolve_open_items(store: Store, tmp_path: Path) -> None:
    add_prompts(store, "r", [BankPrompt(PROMPT)])
    add_completions(
        store, "r", [(PROMPT.id, Completion("x", "Good."), {}), (PROMPT.id, Completion("y", "Bad."), {})]
    )
    add_items(store, "r", [["x"], ["y"]])
    rows: list[object] = [
        {"id": "x", "text": "Good.", "rater": who, "rating": 2} for who in ("Ann", "Bob", "Cem")
    ]
    import_rows(store, tmp_path / "r.jsonl", [*rows, {"id": "y", "text": "Bad.", "rater": "Ann", "rating": 0}])
    assert (Queue(store, "r").progress()["done"], Queue(store, "r").progress()["open"]) == (1, 1)


def test_an_imported_item_that_was_gold_is_closed_again(store: Store, tmp_path: Path) -> None:
    import_rows(store, tmp_path / "r.jsonl", [{"text": "Good.", "rater": "Ann", "rating": 1}])
    with store.reading() as session:
        item = session.scalars(select(ItemRow.key)).one()
    mark_gold(store, "r", item, {"scores": [{"overall": 1}]})
    unmark_gold(store, "r", item)
    assert Queue(store, "r").progress()["closed"] == 1


@pytest.mark.parametrize(
    ("last", "problem"),
    [
        ({"text": "Bad.", "rater": "Ann", "rating": 5}, r"line 3: the rating 5 is outside -4 to 4"),
        ({"rater": "Ann", "rating": 1}, "line 3: no 'text' in it"),
        ({"id": "x", "text": "Other.", "rating": 1}, "'x' belongs to another completion"),
    ],
)
def test_a_broken_file_changes_nothing(
    store: Store, tmp_path: Path, last: dict[str, object], problem: str
) -> None:
    fine = [{"id": "x", "text": "Good.", "rating": 1}, {"text": "Fair.", "rater": "Ann", "rating": 0}]
    with pytest.raises(DataError, match=problem):
        import_rows(store, tmp_path / "r.jsonl", [*fine, last])
    with store.reading() as session:
        for table in (JudgementRow, ItemRow, AnnotatorRow):
            assert session.scalars(select(table)).all() == []


def test_missing_prompts_and_unsuitable_projects_are_refused(store: Store, tmp_path: Path) -> None:
    write_rows(tmp_path / "r.jsonl", [{"text": "Good.", "rating": 1}])
    with pytest.raises(DataError, match="no prompt; give all such texts one with --prompt"):
        list(scan_ratings(tmp_path / "r.jsonl", None))
    pairs = Project("pairs", "?", "pair")
    store.add_project(pairs)
    with pytest.raises(DataError, match="on one criterion, and 'pairs' is not"):
        import_rows(store, tmp_path / "r.jsonl", [{"text": "Good.", "rating": 1}], pairs)
