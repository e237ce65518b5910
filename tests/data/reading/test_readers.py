"""Readers of every format: the same rows, each with its position; broken files are refused with the position."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.data.reading.readers import digest_source, read_rows, scan_rows

ROWS = [{"prompt": "Q, “q”", "completion": "a\nb"}, {"prompt": "电影 🎬", "completion": ""}]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows in the format that the ending names."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8-sig")
    elif path.suffix in (".csv", ".tsv"):
        mark = "," if path.suffix == ".csv" else "\t"
        lines = [mark.join(f'"{cell}"' for cell in [*row.values()]) for row in rows]
        path.write_text("\n".join([mark.join(rows[0]), *lines]), encoding="utf-8-sig")
    elif path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=1)
    else:
        import datasets

        datasets.Dataset.from_list(rows).save_to_disk(str(path))


@pytest.mark.parametrize(
    ("name", "positions"),
    [
        ("a.jsonl", ["line 1", "line 2"]),
        ("a.json", ["row 1", "row 2"]),
        ("a.csv", ["line 2", "line 4"]),  # the first row spans two lines
        ("a.tsv", ["line 2", "line 4"]),
        ("a.parquet", ["row 1", "row 2"]),
        ("a", ["row 1", "row 2"]),
    ],
)
def test_every_format_holds_the_same_rows(tmp_path: Path, name: str, positions: list[str]) -> None:
    write(tmp_path / name, ROWS)
    result = list(read_rows(tmp_path / name))
    assert [row for _, row in result] == ROWS
    assert [where for where, _ in result] == positions


def test_a_json_file_may_hold_one_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n\n{"a": 2}\n', encoding="utf-8")
    assert list(read_rows(path)) == [("line 1", {"a": 1}), ("line 3", {"a": 2})]


def test_long_cells_and_nul_are_read(tmp_path: Path) -> None:
    long = "一部" * 100_000
    path = tmp_path / "a.csv"
    path.write_text(f"prompt\n{long}\nx\x00y\n", encoding="utf-8")
    assert [row["prompt"] for _, row in read_rows(path)] == [long, "x\x00y"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"a,b\n1,2\n\n1,2,3\n", "line 4: 3 columns, but the header has 2"),
        ("a.csv", b'a,b\n1,2\n1,"2\n', "line 3: not valid CSV"),
        ("a.csv", b"a,a\n1,2\n", "line 1: two columns are called 'a'"),
        ("a.csv", "a\n电影\n".encode("gbk"), "line 2: not UTF-8"),
        ("a.csv", "a,b\n".encode("utf-16-le"), "not UTF-8, probably UTF-16LE"),
        ("a.json", b'[{"a": 1}, 2]', "row 2: not a JSON object"),
        ("a.json", b'[{"a": 1}', "not valid JSON"),
        ("a.jsonl", b'{"a": 1}\n{"a"\n', "line 2: not valid JSON"),
        ("a.parquet", b"PAR1", "not readable as Parquet"),
        ("a.txt", b"a", r"the ending '\.txt' is not known"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as excinfo:
        list(read_rows(path))
    assert str(excinfo.value).startswith(str(path))
    assert "\n" not in str(excinfo.value)


def test_a_faulty_row_does_not_hide_those_after_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n1\n3,4\n", encoding="utf-8")
    assert [isinstance(row, DataError) for _, row in scan_rows(path)] == [False, True, False]


def test_a_folder_of_splits_needs_a_name(tmp_path: Path) -> None:
    import datasets

    one = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": one, "test": one.select([1])}).save_to_disk(str(tmp_path / "two"))
    datasets.DatasetDict({"train": one}).save_to_disk(str(tmp_path / "one"))
    one.save_to_disk(str(tmp_path / "plain"))
    assert [row for _, row in read_rows(Path(f"{tmp_path}/two#test"))] == ROWS[1:]
    assert [row for _, row in read_rows(tmp_path / "one")] == ROWS
    for source, sentence in [
        ("two", "has the splits train, test; name one, as in .*two#train"),
        ("two#dev", "has no split 'dev'; it has train, test"),
        ("plain#train", "one data set without splits"),
        ("", "a folder that save_to_disk did not write"),
        ("absent", "no such file"),
    ]:
        with pytest.raises(DataError, match=sentence):
            list(read_rows(Path(f"{tmp_path}/{source}")))


def test_a_digest_sees_every_file_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a", ROWS)
    before = digest_source(tmp_path / "a")
    assert digest_source(Path(f"{tmp_path}/a#train")) == before
    (tmp_path / "a" / "more").write_text("x", encoding="utf-8")
    assert digest_source(tmp_path / "a") != before
    write(tmp_path / "b.jsonl", ROWS)
    assert len({digest_source(tmp_path / "b.jsonl"), before}) == 2


def test_a_quote_that_is_never_closed_ends_a_table_of_one_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt\na\n"x\nb\n', encoding="utf-8")
    first, (where, error) = scan_rows(path)
    assert first == ("line 2", {"prompt": "a"})
    assert where == "line 3"
    assert str(error).endswith("fix the quotes there; nothing after it can be read.")
