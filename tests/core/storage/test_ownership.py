"""Ownership: Gnomon's own files have a name that it writes, in its record, with the recorded digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.storage.ownership import (
    digest_entry,
    entries,
    is_plain_name,
    listed,
    put_folder,
    read_record,
    seal,
    set_aside,
    unchanged,
)
from gnomon.data.reading.readers import digest_source


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/tmp", "a\\b", "a\0b", None, 3, ["a"]])
def test_a_path_is_no_name(name: Any) -> None:
    assert not is_plain_name(name)
    assert is_plain_name("rows.jsonl")


def test_a_digest_is_that_of_data_and_a_link_has_none(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "below").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "below" / "b").write_text("2")
    assert digest_entry(folder) == digest_source(folder)
    assert digest_entry(folder / "a") == digest_source(folder / "a")
    (tmp_path / "link").symlink_to(folder)
    assert digest_entry(tmp_path / "link") is None
    (folder / "below" / "out").symlink_to(tmp_path)
    assert digest_entry(folder) is None
    assert digest_entry(tmp_path / "nothing") is None


def test_a_record_is_known_by_its_own_digest(tmp_path: Path) -> None:
    path, record = tmp_path / "record.json", seal({"files": {"a": "x"}, "n": 1})
    path.write_text(json.dumps(record))
    assert read_record(path) == record
    others: list[object] = [{**record, "n": 2}, {"files": {"a": "x"}}, [], "x", None]
    for other in others:
        path.write_text(json.dumps(other))
        assert read_record(path) is None
    path.write_text("{")
    assert read_record(path) is None
    assert read_record(tmp_path / "none") is None


def test_unchanged_needs_a_plain_known_name_and_a_recorded_digest(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("same", "edited", "unknown"):
        (folder / name).write_text("x")
    (tmp_path / "above").write_text("x")
    (folder / "link").symlink_to(tmp_path / "above")
    digest = digest_entry(folder / "same")
    recorded = dict.fromkeys(["same", "unknown", "link", "../above", "gone", str(tmp_path / "above")], digest)
    names = {*recorded, "edited"} - {"unknown"}
    assert unchanged(folder, {**recorded, "edited": "other"}, names) == {"same"}
    assert unchanged(folder, {"same": ["old", digest]}, names) == {"same"}


def test_a_folder_is_replaced_only_by_the_same(tmp_path: Path) -> None:
    def made(name: str, content: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(content)
        return tmp_path / name

    model = tmp_path / "model"
    assert put_folder(made("new", "1"), model) is None
    assert put_folder(made("new", "1"), model) is None
    (model / "notes.txt").write_text("mine")
    assert put_folder(made("new", "1"), model) == tmp_path / "model.1"
    assert (tmp_path / "model.1" / "notes.txt").read_text() == "mine"
    (tmp_path / "model.2").symlink_to(tmp_path / "nowhere")
    assert put_folder(made("new", "2"), model) == tmp_path / "model.3"
    assert (model / "weights").read_text() == "2"
    assert set_aside(model) == tmp_path / "model.4"


def test_names_of_a_folder_and_their_list(tmp_path: Path) -> None:
    for name in ("b", ".hidden", "a"):
        (tmp_path / name).write_text("")
    assert entries(tmp_path) == ["a", "b"]
    assert entries(tmp_path / "none") == []
    assert listed(["c", "a", "b", "d", "e"]) == "a, b, c and 2 more"
    assert listed(["a"]) == "a"
