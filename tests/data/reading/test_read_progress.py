"""Progress of reading large files, and rows of 50 MB."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gnomon.data.inspection import inspect
from gnomon.data.reading import read_progress
from gnomon.data.reading.read_progress import reading
from gnomon.data.reading.readers import scan_rows


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress from the first second on."""
    monkeypatch.setattr(read_progress, "SHORT_SECONDS", 0.0)


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split("  ")[1] for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("at_once")
def test_a_large_file_shows_its_megabytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(tmp_path, "a.csv")
    path.write_text("prompt\n" + ("x" * 999 + "\n") * 3000, encoding="utf-8")
    assert sum(1 for _ in scan_rows(path)) == 3000
    assert shown(capsys) == ["reading a.csv, MB 3/3"]


@pytest.mark.usefixtures("at_once")
def test_of_several_readers_and_processes_one_shows_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with reading("a", 2, "rows") as first, reading("b", 2, "rows") as second:
        second(2)
        first(2)
        first(2)
    assert shown(capsys) == ["reading a, rows 2/2"]
    monkeypatch.setenv("RANK", "1")
    with reading("a", 2, "rows") as report:
        report(2)
    assert shown(capsys) == []


def test_short_work_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with reading("a", 5, "rows") as report:
        report(5)
    assert shown(capsys) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_row_of_50_megabytes_is_read(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": str(n), "completion": "电 " * (12_500_000 if n == 1 else 1)} for n in range(3)]
    path = tmp_path / name
    with path.open("w", encoding="utf-8") as file:
        if name == "a.json":
            json.dump(rows, file, ensure_ascii=False)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert path.stat().st_size > 50_000_000
    assert [len(one.completion.text) for one in inspect(path).records] == [2, 25_000_000, 2]
