"""Patterns leave out the files that Gnomon wrote beside data, and name them once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.data.conversion import convert_file
from gnomon.data.inspection import inspect
from gnomon.data.quality.clean import clean_file
from gnomon.data.reading import side_files
from gnomon.data.reading.sources import digest_source, files_of

ROWS = [
    {"prompt": "Name a river.", "chosen": "The Spree flows through Berlin.", "rejected": "No."},
    {"prompt": "Name a river.", "chosen": "The Spree flows through Berlin.", "rejected": "No."},
    {"prompt": "Name a city.", "chosen": "I'm sorry, but I can't help with that.", "rejected": "Rome"},
    {"prompt": "Name a sea.", "chosen": None, "rejected": "Rome"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which two commands wrote data and the files beside them."""
    source = tmp_path / "source" / "pairs.jsonl"
    source.parent.mkdir()
    source.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    made = tmp_path / "made"
    made.mkdir()
    clean_file(source, made / "a.jsonl")
    clean_file(source, made / "clean.jsonl")
    convert_file(source, made / "b.jsonl", "trl")
    return made


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(console, "print", lambda line, **_: lines.append(line))
    monkeypatch.setattr(side_files, "_noted", set())
    return lines


def test_a_pattern_stands_for_data_and_names_what_it_leaves_out_once(folder: Path, printed: list[str]) -> None:
    assert {"a.rejected.jsonl", "a.flagged.jsonl", "b.rejected.jsonl"} <= {file.name for file in folder.iterdir()}
    pattern = folder / "*.jsonl"
    assert [file.name for file in files_of(pattern)] == ["a.jsonl", "b.jsonl", "clean.jsonl"]
    assert inspect(pattern).refused == []
    assert printed == [
        f"{pattern}: 5 files are left out, which Gnomon wrote beside data: a.flagged.jsonl, a.rejected.jsonl, "
        "b.rejected.jsonl …; name one to read it"
    ]


def test_reports_are_left_out_too(folder: Path, printed: list[str]) -> None:
    (folder / "own.json").write_text(json.dumps(ROWS[:1]), encoding="utf-8")
    assert [file.name for file in files_of(folder / "*.json")] == ["own.json"]
    (folder / "own.txt").touch()
    assert [file.name for file in files_of(folder / "*.txt")] == ["own.txt"]
    note = "2 files are left out, which Gnomon wrote beside data: a.report.json, report.json; name one to read it"
    assert printed == [f"{folder}/*.json: {note}", f"{folder}/*.txt: {note.replace('json', 'txt')}"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.rejected.jsonl", ["a.rejected.jsonl", "b.rejected.jsonl"]),
        ("[ab].flagged*", ["a.flagged.jsonl"]),
        ("a.rejected.jsonl", ["a.rejected.jsonl"]),
    ],
)
def test_a_name_that_asks_for_them_is_followed(
    folder: Path, printed: list[str], pattern: str, names: list[str]
) -> None:
    assert [file.name for file in files_of(folder / pattern)] == names
    assert printed == []


def test_a_users_own_file_of_such_a_name_is_data(tmp_path: Path, printed: list[str]) -> None:
    for name in ("rejected.jsonl", "old.flagged.jsonl"):
        (tmp_path / name).write_text(json.dumps(ROWS[0]) + "\n", encoding="utf-8")
    (tmp_path / "new.rejected.jsonl").write_text("no JSON\n", encoding="utf-8")
    assert len(files_of(tmp_path / "*.jsonl")) == 3
    assert printed == []


def test_an_empty_list_of_rejected_rows_is_left_out(tmp_path: Path, printed: list[str]) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[0]) + "\n", encoding="utf-8")
    (tmp_path / "a.rejected.jsonl").touch()
    assert [file.name for file in files_of(tmp_path / "*")] == ["a.jsonl"]
    assert printed[0].startswith(f"{tmp_path}/*: 1 file is left out")


def test_the_fingerprint_of_a_pattern_does_not_depend_on_them(folder: Path, printed: list[str]) -> None:
    before = digest_source(folder / "*.jsonl")
    (folder / "a.rejected.jsonl").unlink()
    assert digest_source(folder / "*.jsonl") == before


def test_a_pattern_of_nothing_else_matches_no_file(folder: Path, printed: list[str]) -> None:
    for name in ("a", "b", "clean"):
        (folder / f"{name}.jsonl").unlink()
    with pytest.raises(DataError, match="no file matches"):
        inspect(folder / "*.jsonl")
