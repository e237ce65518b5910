"""Exports with bounds on agreement, margin, confidence and alpha, and with filters of single rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_exporter import add_judgement, export, project

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.files import read_json
from gnomon.feedback.export.exporter import ExportSpec
from gnomon.feedback.export.writers import write_export
from gnomon.feedback.store.store import Store

FIRST, SECOND = {"choice": "first"}, {"choice": "second"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Item 0: three of three prefer `a`; item 1: two of three prefer `c`, one of them unsure."""
    feedback_store = Store(str(tmp_path / "feedback.db"))
    project(feedback_store, "pair", [["a", "b"], ["c", "d"]])
    for who in ("ann", "bob", "eve"):
        add_judgement(feedback_store, 0, who, "ab", FIRST, confidence=0.9)
    add_judgement(feedback_store, 1, "ann", "cd", FIRST)
    add_judgement(feedback_store, 1, "bob", "cd", FIRST, confidence=0.2)
    add_judgement(feedback_store, 1, "eve", "cd", SECOND, confidence=0.8)
    yield feedback_store
    feedback_store.close()


def chosen(rows: dict[str, list[dict[str, Any]]]) -> list[tuple[str, float]]:
    return [(row["chosen"]["id"], row["probability"]) for row in rows.get("preferences", [])]


def test_preferences_that_too_few_raters_share_are_left_out_and_counted(store: Store) -> None:
    rows, _ = export(store)
    assert chosen(rows) == [("a", 1.0), ("c", pytest.approx(2 / 3))]
    rows, manifest = export(store, filters={"agreement": {"min_agreement": 0.7}})
    assert chosen(rows) == [("a", 1.0)]
    assert manifest.left_out["rows_dropped_by_agreement"] == 1
    assert manifest.to_json()["filters"] == {"agreement": {"min_agreement": 0.7}}
    assert len(rows["judgements"]) == 6  # every judgement is still there


def test_margins_and_texts_are_filtered_likewise(store: Store) -> None:
    assert chosen(export(store, filters={"margin": {"min_margin": 0.9}})[0]) == [("a", 1.0)]
    assert chosen(export(store, filters={"length": {"min_characters": 2}})[0]) == []


def test_unsure_judgements_are_no_votes_and_those_without_confidence_are(store: Store) -> None:
    rows, manifest = export(store, min_confidence=0.5)
    assert chosen(rows) == [("a", 1.0), ("c", 0.5)]  # ann, who gave none, against eve
    assert manifest.left_out["judgements_below_confidence"] == 1
    assert manifest.judgements == 5
    assert manifest.to_json()["min_confidence"] == 0.5


def test_a_project_that_agrees_too_little_is_refused_as_a_whole(store: Store, tmp_path: Path) -> None:
    """Observed disagreement 2/6, expected of five labels of a kind and one other 2·5·1/(6·5): alpha 0."""
    write_export(store, "p", tmp_path / "out", ExportSpec(min_alpha=-1))
    assert read_json(tmp_path / "out" / "manifest.json")["min_alpha"] == -1
    with pytest.raises(DataError, match=r"alpha of project 'p' is -?0\.00, below 0\.9"):
        write_export(store, "p", tmp_path / "other", ExportSpec(min_alpha=0.9))
    assert not (tmp_path / "other").exists()


def test_filters_that_an_export_cannot_use_are_refused(store: Store) -> None:
    for filters, message in (
        (
            {"near_duplicates": "drop"},
            r"filters\.near_duplicates needs more than single rows; use gnomon data clean",
        ),
        (
            {"personal_data": "mask"},
            r"filters\.personal_data: an export can only drop; use gnomon data clean to mask rows",
        ),
        ({"agreeement": "drop"}, "'agreeement' is no filter"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(store, filters=filters)


def test_the_command_has_the_options(store: Store, ask: Any, tmp_path: Path) -> None:
    bounds = [
        "--min-agreement",
        "0.7",
        "--min-confidence",
        "0.1",
        "--min-alpha",
        "-1",
        "--filter",
        "refusals=drop",
    ]
    code, out, _ = ask("feedback", "export", tmp_path / "feedback.db", "--out", tmp_path / "out", *bounds)
    assert code == 0
    assert "1 preference from 6 judgements" in out
    assert "left out: 1 row dropped by the filter agreement" in out
