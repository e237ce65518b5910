"""Broken files of Parquet and Arrow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow
import pyarrow.parquet

from broken_files.case import GOOD, PAIR, TWO, Broken

TEXTS = pyarrow.schema([("prompt", pyarrow.string()), ("completion", pyarrow.string())])


def table(rows: Sequence[Any], schema: Any = None) -> Any:
    """An Arrow table of rows."""
    return pyarrow.Table.from_pylist(list(rows), schema=schema)


def parquet(content: Any, **options: Any) -> bytes:
    """A Parquet file of an Arrow table."""
    sink = io.BytesIO()
    pyarrow.parquet.write_table(content, sink, **options)
    return sink.getvalue()


def arrow(content: Any, *, stream: bool = False, rows: int = 1) -> bytes:
    """An Arrow file or stream of a table, in batches of some rows."""
    sink = io.BytesIO()
    make = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with make(sink, content.schema) as writer:
        writer.write_table(content, max_chunksize=rows)
    return sink.getvalue()


def with_bad_utf8() -> bytes:
    """A Parquet file with a text that is not UTF-8, as writers that do not check make it."""
    array = pyarrow.array([b"a", b"\xb5\xe7", b"b"], pyarrow.binary()).view(pyarrow.string())
    answers = pyarrow.array(["Yes."] * 3)
    return parquet(pyarrow.table({"prompt": array, "completion": answers}))


def with_damaged_group() -> bytes:
    """A Parquet file of two groups of rows, with zeros over the data of the second."""
    data = bytearray(parquet(table(PAIR, TEXTS), row_group_size=1, use_dictionary=False, compression="zstd"))
    group = pyarrow.parquet.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1)
    for column in range(group.num_columns):
        start = group.column(column).data_page_offset
        data[start : start + group.column(column).total_compressed_size] = bytes(
            group.column(column).total_compressed_size
        )
    return bytes(data)


ARROW_FILES = (
    Broken(
        "a Parquet file that is cut",
        "a.parquet",
        lambda: parquet(table(PAIR))[:-20],
        refused="not readable as Parquet",
    ),
    Broken("a text under the name of Parquet", "a.parquet", TWO, refused="not readable as Parquet"),
    Broken(
        "numbers for texts in Parquet",
        "a.parquet",
        lambda: parquet(table([{"prompt": 1, "completion": 2.5}])),
        refused="1 is neither a text nor a JSON object",
    ),
    Broken(
        "bytes for texts in Parquet",
        "a.parquet",
        lambda: parquet(
            table(PAIR, pyarrow.schema([("prompt", pyarrow.binary()), ("completion", pyarrow.large_binary())]))
        ),
        GOOD,
    ),
    Broken("a text that is not UTF-8 in Parquet", "a.parquet", with_bad_utf8, GOOD, {"row 2": "not valid"}),
    Broken(
        "two columns of one name in Parquet",
        "a.parquet",
        lambda: parquet(pyarrow.table([["a"], ["b"]], names=["prompt", "prompt"])),
        refused="two columns are called 'prompt'",
    ),
    Broken(
        "nested nulls in Parquet",
        "a.parquet",
        lambda: parquet(
            table(
                [
                    {
                        "messages": [
                            {"role": "user", "content": "a", "name": None},
                            {"role": "assistant", "content": "y", "name": None},
                        ]
                    },
                    {"messages": None},
                ]
            )
        ),
        ("a",),
        {"row 2": "."},
    ),
    Broken("a damaged group of rows in Parquet", "a.parquet", with_damaged_group, ("a",), {"row 2": "damaged"}),
    Broken(
        "a Parquet file without rows", "a.parquet", lambda: parquet(table([], TEXTS)), refused="holds no rows"
    ),
    Broken(
        "an Arrow file that is cut", "a.arrow", lambda: arrow(table(PAIR))[:-10], refused="not readable as Arrow"
    ),
    Broken(
        "an Arrow stream that is cut",
        "a.arrow",
        lambda: arrow(table(PAIR), stream=True)[:-60],
        ("a",),
        {"row 2": "damaged"},
    ),
    Broken("an Arrow stream", "a.arrow", lambda: arrow(table(PAIR), stream=True), GOOD),
    Broken("Parquet under the name of JSON lines", "a.jsonl", lambda: parquet(table(PAIR)), GOOD),
    Broken("Arrow under the name of Parquet", "a.parquet", lambda: arrow(table(PAIR)), GOOD),
)
