"""Readers of users' files: JSON lines, a JSON list, CSV, TSV, Parquet, a folder of `datasets`.

Each row comes with its position, so that errors can name it: `line 3` of a text file, `row 3` otherwise.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.storage.files import NO_TEXT, is_text, numbered_jsonl
from gnomon.data.reading.row_fields import decode_cells

Row = dict[str, Any]
ScannedRow = tuple[str, Row | DataError]

FORMATS = ".jsonl, .json, .csv, .tsv or .parquet, or a folder written by datasets' save_to_disk"
ENDINGS = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"}
_BATCH = 1024  # rows of a Parquet file that are in memory at a time


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a file or folder, each with its position; raises `DataError` at the first fault.

    A folder of several splits is addressed as `folder#split`.
    """
    for where, row in scan_rows(path):
        if isinstance(row, DataError):
            raise row
        yield where, row


def scan_rows(path: Path) -> Iterator[ScannedRow]:
    """Yield rows as `read_rows` does, but an unreadable row as its error, followed by the next row.

    Texts that are JSON of messages become messages; see `decode_cells`. An error that makes the whole file
    unreadable is raised.
    """
    for where, row in _raw_rows(path):
        if isinstance(row, dict):
            try:
                row = decode_cells(row)
            except DataError as error:
                row = DataError(f"{path}, {where}: {str(error).rstrip('.')}.")
        yield where, row


def _raw_rows(path: Path) -> Iterator[ScannedRow]:
    """Yield the rows as they are in the file."""
    source, split = locate(path)
    if source.is_dir():
        yield from _datasets(source, split)
        return
    suffix = source.suffix.lower()
    if not source.is_file():
        raise DataError(f"{path} cannot be read (no such file); give a file that ends in {FORMATS}.")
    if suffix in (".jsonl", ".ndjson") or (suffix == ".json" and not _is_list(source)):
        yield from ((f"line {number}", row) for number, row in numbered_jsonl(source))
    elif suffix == ".json":
        yield from _json_list(source)
    elif suffix in (".csv", ".tsv"):
        yield from _table(source, "," if suffix == ".csv" else "\t")
    elif suffix == ".parquet":
        yield from _parquet(source)
    else:
        raise DataError(f"{path}: the ending '{source.suffix}' is not known; give a file that ends in {FORMATS}.")


def is_data_file(name: str) -> bool:
    """Return whether a name has the suffix of a data file."""
    return Path(name).suffix.lower() in ENDINGS


def locate(path: Path) -> tuple[Path, str | None]:
    """Split a path into the file or folder and the name of the split after a `#`, if there is one."""
    before, mark, split = str(path).rpartition("#")
    if not mark or path.exists():
        return path, None
    return Path(before), split


def digest_source(path: Path) -> str:
    """Compute the SHA-256 of a file, or of all files of a folder with their names."""
    source, _ = locate(path)
    if source.is_file():
        return digest_file(source)
    files = sorted(p for p in source.rglob("*") if p.is_file())
    return digest_of([[p.relative_to(source).as_posix(), digest_file(p)] for p in files])


def _is_list(path: Path) -> bool:
    """Return whether a JSON file is one list; otherwise it is JSON lines with the suffix `.json`."""
    with path.open("rb") as file:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"[")


def _json_list(path: Path) -> Iterator[ScannedRow]:
    try:
        rows = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON in UTF-8 ({error}); fix it.") from None
    for number, row in enumerate(rows, start=1):
        where = f"row {number}"
        wrong = "not a JSON object; make each element of the list one." if not isinstance(row, dict) else None
        if wrong is None and not is_text(row):
            wrong = NO_TEXT
        yield where, row if wrong is None else DataError(f"{path}, {where}: {wrong}")


def _table(path: Path, delimiter: str) -> Iterator[ScannedRow]:
    """Yield the rows of a table with a header; the position of a row is the line where it starts."""
    csv.field_size_limit(2**31 - 1)  # the default refuses long texts
    with path.open("rb") as file:
        reader = csv.reader(_lines(path, file), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            where = f"line {reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{path}, {where}: not valid CSV ({error}); fix the quotes there.") from None
            if not cells:
                continue
            if header is None:
                header = _header(path, cells)
            elif len(cells) != len(header):
                count = f"{len(cells)} columns, but the header has {len(header)}"
                yield where, DataError(f"{path}, {where}: {count}; quote texts that hold a separator.")
            else:
                yield where, dict(zip(header, cells, strict=True))


def _header(path: Path, cells: list[str]) -> list[str]:
    twice = next((name for name in cells if cells.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}, line 1: two columns are called '{twice}'; rename one of them.")
    return cells


def _lines(path: Path, file: Any) -> Iterator[str]:
    """Yield the lines of a file, decoded one by one so that an error has a line number."""
    for number, line in enumerate(file, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: not UTF-8 ({error.reason}); save it as UTF-8.") from None


def _parquet(path: Path) -> Iterator[ScannedRow]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
        after = f", after row {number}" if number else ""
        raise DataError(f"{path}{after}: not readable as Parquet ({first}); write it again.") from None


def _datasets(folder: Path, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of a folder that `save_to_disk` wrote: a data set, or one split of several."""
    import datasets

    if not any((folder / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise DataError(
            f"{folder} is a folder that save_to_disk did not write; give a file that ends in {FORMATS}."
        )
    try:
        dataset = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise DataError(f"{folder}: not readable as a data set ({first}); save it again.") from None
    if isinstance(dataset, datasets.DatasetDict):
        names = ", ".join(dataset)
        if split is None and len(dataset) != 1:
            raise DataError(
                f"{folder} has the splits {names}; name one, as in {folder}#{next(iter(dataset), 'train')}."
            )
        if split is not None and split not in dataset:
            raise DataError(f"{folder} has no split '{split}'; it has {names}.")
        dataset = dataset[next(iter(dataset)) if split is None else split]
    elif split is not None:
        raise DataError(f"{folder} is one data set without splits; leave '#{split}' away.")
    yield from ((f"row {number}", row) for number, row in enumerate(dataset.with_format(None), start=1))
