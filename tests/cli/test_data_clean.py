"""`gnomon data clean` and `gnomon data filters`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from project import Ran, write_rows
from quality_rows import lines, pair

import gnomon

SEA = "The sea is salty because rivers carry minerals into it."


def test_clean_writes_the_files_and_prints_the_report(ask: Callable[..., Ran], tmp_path: Path) -> None:
    rows = [
        pair("Why is the sea salty?", SEA),
        pair("Why is the sea salty?", SEA),
        pair("Mail?", "a@example.org"),
    ]
    rows += [pair("Who won?", "Nobody.", margin=0.1), pair("Who lost?", "Everybody, damn.", margin=2)]
    write_rows(tmp_path / "rows.jsonl", rows)
    (tmp_path / "words.txt").write_text("damn\n")
    write_rows(tmp_path / "test.jsonl", [{"prompt": "Mail?"}])
    code, out, _ = ask("data", "clean", tmp_path / "rows.jsonl", "--out", tmp_path / "clean.jsonl")
    assert code == 0
    assert "5 rows = 4 clean + 1 rejected" in out
    assert "personal_data: line 3: chosen holds an e-mail address" in out
    options = ["--filter", "duplicates=report", "--lexicon", tmp_path / "words.txt", "--min-margin", "0.05"]
    options += [
        "--held-out",
        tmp_path / "test.jsonl",
        "--filter",
        "near_duplicates=off",
        "--min-agreement",
        "0.8",
    ]
    again = ["data", "clean", tmp_path / "rows.jsonl", "--out", tmp_path / "clean.jsonl", *options]
    code, _, error = ask(*again)
    assert code == 2
    assert "clean.jsonl exists; give another --out, or --overwrite." in error
    code, out, _ = ask(*again, "--overwrite", "--filter", "margin.action=report")
    assert code == 0
    rejected = [(row["where"], row["filter"]) for row in lines(tmp_path / "rejected.jsonl")]
    assert rejected == [("line 3", "held_out"), ("line 5", "lexicon")]
    flagged = {(row["where"], row["filter"]) for row in lines(tmp_path / "flagged.jsonl")}
    assert {("line 2", "duplicates"), ("line 1", "margin"), ("line 2", "margin")} <= flagged


def test_a_judge_by_name_and_a_mapping_of_columns(ask: Callable[..., Ran], tmp_path: Path) -> None:
    rows = [
        {"q": "How was it?", "good": "A great film!", "bad": "Dull."},
        {"q": "And?", "good": "Awful.", "bad": "Nice."},
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    columns = ["--columns", "prompt=q", "--columns", "chosen=good", "--columns", "rejected=bad"]
    judge = ["--filter", "judge={judge: vader, min_gap: 0}"]
    code, _, error = ask(
        "data", "clean", tmp_path / "rows.jsonl", "--out", tmp_path / "c.jsonl", *columns, *judge
    )
    assert (code, error) == (0, "")
    (row,) = lines(tmp_path / "c.rejected.jsonl")
    assert row["reason"].startswith("vader scores chosen -0.4")
    assert lines(tmp_path / "c.jsonl")[0]["chosen"]["text"] == "A great film!"


def test_tokens_are_counted_with_a_model(tiny_model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [pair(), pair("Long?", "word " * 50)])
    settings = {"length": {"max_tokens": 100}, "degenerate": "off"}
    report = gnomon.data_clean(
        tmp_path / "rows.jsonl", tmp_path / "clean.jsonl", filters=settings, model=str(tiny_model)
    )
    assert report.filters["length"].rows == ["line 2"]
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["filters"]["length"]["records"] == 1


def test_filters_are_listed(ask: Callable[..., Ran]) -> None:
    code, out, _ = ask("data", "filters")
    assert code == 0
    assert "near_duplicates [drop] similarity=0.8" in out
