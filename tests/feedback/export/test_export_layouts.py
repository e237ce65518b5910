"""Exports in the layouts of other tools, read by TRL's own functions and by Gnomon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from annotating import judge_all, project
from trl import data_utils

from gnomon.core.errors import ConfigError
from gnomon.core.types import Preference
from gnomon.data.records import read_records
from gnomon.feedback.export.exporter import ExportSpec
from gnomon.feedback.export.writers import write_export
from gnomon.feedback.store.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Three items: `a` preferred by both annotators, by one of them, and by none."""
    feedback_store = Store(str(tmp_path_factory.mktemp("store") / "f.db"))
    queue = project(feedback_store, 3)
    judge_all(queue, "ann", lambda item: "aab"[item])
    judge_all(queue, "bob", lambda item: "abb"[item])
    yield feedback_store
    feedback_store.close()


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_trl_reads_the_decided_preferences_and_even_ones_are_counted(store: Store, tmp_path: Path) -> None:
    manifest = write_export(store, "films", tmp_path / "out", format="trl")
    assert manifest["rows"] == {"preferences": 2, "demonstrations": 0, "judgements": 6}
    assert manifest["left_out"]["rows_of_another_layout"] == 1
    path = tmp_path / "out" / "preferences.jsonl"
    data = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    for row in data:
        assert data_utils.is_conversational(row)
        assert data_utils.maybe_extract_prompt(row) == row
    assert [row["chosen"][0]["content"] for row in data] == ["a of 0", "b of 2"]
    assert [len(row["items"]) for row in rows_of(path)] == [1, 1]
    assert [record.chosen.text for record in read_records(Preference, path)] == ["a of 0", "b of 2"]


@pytest.mark.parametrize("layout", ["openrlhf", "llama-factory", "hh"])
def test_other_layouts_hold_the_same_preferences(store: Store, tmp_path: Path, layout: str) -> None:
    write_export(store, "films", tmp_path, format=layout)
    records = read_records(Preference, tmp_path / "preferences.jsonl")
    assert [(record.chosen.text, record.rejected.text) for record in records] == [
        ("a of 0", "b of 0"),
        ("b of 2", "a of 2"),
    ]


def test_kinds_that_a_layout_does_not_hold_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the format hh has no demonstrations; it has preferences"):
        write_export(store, "films", tmp_path, ExportSpec(kinds=("demonstrations",)), "hh")
    with pytest.raises(ConfigError, match="there is no format 'xml'; choose one of jsonl, parquet, datasets, "):
        write_export(store, "films", tmp_path, format="xml")
    assert list(tmp_path.iterdir()) == []


def test_rankings_are_not_written_for_tools_without_them(tmp_path: Path) -> None:
    ranked = Store(str(tmp_path / "f.db"))
    project(ranked, 1, task="ranking", sides="abc")
    from gnomon.feedback.export.layouts import kinds_of_layout

    assert kinds_of_layout("trl", ("rankings", "preferences", "demonstrations"), ()) == (
        "preferences",
        "demonstrations",
    )
    with pytest.raises(ConfigError, match="the format trl has no rankings; it has preferences or demonstrations"):
        write_export(ranked, "films", tmp_path / "out", ExportSpec(kinds=("rankings",)), "trl")
    ranked.close()
