"""Rows in are records and rejected rows, for every container and several formats, whatever the rows hold."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings, strategies as st

from gnomon.core.errors import DataError
from gnomon.data.conversion import convert_file
from gnomon.data.inspection import inspect

Row = dict[str, Any]
COLUMNS = ("prompt", "completion")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SIDE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
# A valid row has a prompt that is not empty, and a completion; a missing one is null.
DEMONSTRATIONS = st.lists(
    st.fixed_dictionaries({"prompt": st.one_of(st.none(), TEXT), "completion": st.one_of(st.none(), TEXT)}),
    min_size=1,
    max_size=6,
)


def as_lines(rows: Sequence[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_table(rows: Sequence[Row], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([COLUMNS, *([row[key] for key in COLUMNS] for row in rows)])
    return text.getvalue().encode()


def arrow_table(rows: Sequence[Row]) -> Any:
    return pyarrow.Table.from_pylist(rows, schema=pyarrow.schema([(key, pyarrow.string()) for key in COLUMNS]))


def as_parquet(rows: Sequence[Row]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(arrow_table(rows), sink, row_group_size=2)
    return sink.getvalue()


def as_arrow(rows: Sequence[Row], make: Any = pyarrow.ipc.new_file) -> bytes:
    sink = io.BytesIO()
    table = arrow_table(rows)
    with make(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


WRITERS: dict[str, Callable[[Sequence[Any]], bytes]] = {
    "a.jsonl": as_lines,
    "a.utf-16.jsonl": lambda rows: as_lines(rows).decode().encode("utf-16"),
    "list.json": lambda rows: json.dumps(rows).encode(),
    "indented.json": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False).encode(),
    "objects.json": lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows).encode(),
    "nested.json": lambda rows: json.dumps({"data": rows}).encode(),
    "a.jsonl.gz": lambda rows: gzip.compress(as_lines(rows)),
    "a.jsonl.bz2": lambda rows: bz2.compress(as_lines(rows)),
    "a.json.xz": lambda rows: lzma.compress(json.dumps(rows).encode()),
    "a.jsonl.zst": lambda rows: bytes(pyarrow.compress(as_lines(rows), "zstd", asbytes=True)),
}
TABLES: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "a.csv": as_table,
    "a.tsv": lambda rows: as_table(rows, "\t"),
    "a.parquet": as_parquet,
    "a.arrow": as_arrow,
    "stream.arrow": lambda rows: as_arrow(rows, pyarrow.ipc.new_stream),
}


def check_counts(path: Path, rows: int) -> None:
    """Check that inspecting and converting count each row once, or refuse a file without a record."""
    try:
        inspection = inspect(path)
    except DataError:
        return
    assert inspection.rows == rows
    out = path.parent / "out.jsonl"
    result = convert_file(path, out, "gnomon", overwrite=True)
    assert result.written + result.rejected.total() + result.joined == rows
    assert result.written == len(inspection.records)
    assert len(inspect(out).records) == result.written


@pytest.mark.parametrize("name", [*WRITERS, *TABLES])
@settings(max_examples=12, deadline=None)
@given(rows=DEMONSTRATIONS)
def test_demonstrations_are_counted_in_every_container(name: str, rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes((WRITERS | TABLES)[name](rows))
        check_counts(path, len(rows))
        if any(row["prompt"] and row["prompt"].strip() and row["completion"] for row in rows):
            assert inspect(path).records


def dialogue(pair: tuple[str, str]) -> Row:
    return {"conversations": [{"from": "human", "value": pair[0]}, {"from": "gpt", "value": pair[1]}]}


def transcripts(sides: tuple[str, str, str]) -> Row:
    start = f"\n\nHuman: {sides[0]}\n\nAssistant: "
    return {"chosen": f"{start}{sides[1]}", "rejected": f"{start}{sides[2]}"}


def preference(sides: tuple[str, str, str]) -> Row:
    return dict(zip(("prompt", "chosen", "rejected"), sides, strict=True))


BROKEN: st.SearchStrategy[Any] = st.sampled_from(
    [{}, {"prompt": None}, {"chosen": 5}, {"conversations": "x"}, 7, None, [], "text"]
)
LAYOUTS = {
    "ShareGPT": st.tuples(SIDE, SIDE).map(dialogue),
    "HH": st.tuples(SIDE, SIDE, SIDE).map(transcripts),
    "preferences": st.tuples(SIDE, SIDE, SIDE).map(preference),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_rows_of_several_formats_are_counted_among_broken_ones(
    name: str, layout: str, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(LAYOUTS[layout], min_size=3, max_size=6))
    broken = data.draw(st.lists(BROKEN, max_size=3))
    mixed = data.draw(st.permutations([*rows, *broken]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(WRITERS[name](mixed))
        check_counts(path, len(mixed))


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.tuples(SIDE, SIDE, SIDE).map(preference), min_size=2, max_size=8), cut=st.floats(0, 1))
@pytest.mark.parametrize("name", ["a.jsonl", "list.json", "indented.json", "a.jsonl.gz"])
def test_a_cut_file_keeps_the_rows_before_the_cut(name: str, rows: list[Row], cut: float) -> None:
    data = WRITERS[name](rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data[: int(cut * len(data))])
        try:
            records = inspect(path).records
        except DataError:
            return
        written = iter([(row["chosen"], row["rejected"]) for row in rows])
        for record in records:  # in the same order; others are rejected
            assert (record.chosen.text, record.rejected.text) in written


def message(number: int, parent: int | None, rank: int | None, tree: int) -> Row:
    ids = {"message_id": f"{tree}-{number}", "message_tree_id": f"{tree}"}
    above = None if parent is None else f"{tree}-{parent}"
    role = "prompter" if parent is None else "assistant"
    return {**ids, "parent_id": above, "role": role, "text": f"t{number}", "rank": rank}


def tree(shape: tuple[int, list[int | None]]) -> list[Row]:
    """A prompt with replies of some ranks."""
    number, ranks = shape
    return [
        message(0, None, None, number),
        *(message(n, 0, rank, number) for n, rank in enumerate(ranks, start=1)),
    ]


def task(shape: tuple[int, list[str]]) -> list[Row]:
    """The annotations of one task, one a row."""
    number, votes = shape
    data = {"id": number, "prompt": f"q{number}", "response1": "x", "response2": "y", "lead_time": 1.5}
    return [{**data, "pw": vote, "annotator": n, "annotation_id": n} for n, vote in enumerate(votes)]


def neighbors(shape: tuple[int, list[int]]) -> list[Row]:
    """Rated answers to one prompt."""
    number, ratings = shape
    rest = {"correctness": 3, "coherence": 3, "complexity": 1, "verbosity": 1}
    return [
        {"prompt": f"q{number}", "response": f"a{n}", "helpfulness": one, **rest} for n, one in enumerate(ratings)
    ]


SEVERAL: dict[str, tuple[Callable[[Any], list[Row]], st.SearchStrategy[Any]]] = {
    "OpenAssistant": (tree, st.sampled_from([None, 0, 1, 2])),
    "Label Studio": (task, st.sampled_from(["left", "right", "tie", ""])),
    "HelpSteer": (neighbors, st.integers(0, 4)),
}


@pytest.mark.parametrize("layout", SEVERAL)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_rows_that_make_one_record_together_are_counted(layout: str, data: st.DataObject) -> None:
    make, cell = SEVERAL[layout]
    groups = data.draw(st.lists(st.lists(cell, min_size=1, max_size=4), min_size=1, max_size=4))
    rows = [row for number, cells in enumerate(groups) for row in make((number, cells))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_bytes(as_lines(rows))
        try:
            inspection = inspect(path)
        except DataError:
            return
        assert inspection.rows == len(rows)
        positions = {record.where for record in inspection.records} | {one.where for one in inspection.refused}
        assert len(positions) + inspection.joined == len(rows)
