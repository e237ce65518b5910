"""JSON read in pieces gives the same values as JSON read whole, wherever the pieces end."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings, strategies as st

from gnomon.core.errors import DataError
from gnomon.data.reading.containers import json_stream
from gnomon.data.reading.containers.json_stream import JsonFault, JsonStream
from gnomon.data.reading.content import Content
from gnomon.data.reading.readers import scan_rows

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), min_size=2, max_size=5)


def write(folder: str, text: str) -> Path:
    path = Path(folder) / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, indent=st.sampled_from([None, 0, 2]), chunk=st.integers(1, 40), ascii=st.booleans())
def test_rows_do_not_depend_on_where_pieces_end(rows: list[Any], indent: Any, chunk: int, ascii: bool) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii)
    with tempfile.TemporaryDirectory() as folder, patch.object(json_stream, "_CHUNK", chunk):
        assert [row for _, row in scan_rows(write(folder, text))] == rows
        objects = "\n".join(json.dumps(row, indent=indent, ensure_ascii=ascii) for row in rows)
        assert [row for _, row in scan_rows(write(folder, objects))] == rows


@pytest.mark.parametrize("number", ["0.25", "-1.5e-7", "2E+3", "10", "1e5"])
@pytest.mark.parametrize("chunk", range(1, 13))
def test_a_number_is_whole_wherever_its_piece_ends(number: str, chunk: int) -> None:
    text = f'{{\n"a": [\n{{}}\n],\n"b": [\n{number},\n{number}\n]\n}}\n{{\n"a": null\n}}'
    with tempfile.TemporaryDirectory() as folder, patch.object(json_stream, "_CHUNK", chunk):
        rows = [row for _, row in scan_rows(write(folder, text))]
    assert rows == [{"a": [{}], "b": [float(number)] * 2}, {"a": None}]


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, chunk=st.integers(1, 40), position=st.integers(0, 4), data=st.data())
def test_a_broken_row_hides_no_other_wherever_pieces_end(
    rows: list[Any], chunk: int, position: int, data: st.DataObject
) -> None:
    broken = data.draw(st.sampled_from(["{'a': 1}", '{"a": 1,, }', '{"a": tru}', '{"a": "x}', "{a: 1}", "nul"]))
    texts = [json.dumps(row) for row in rows]
    index = min(position, len(rows))
    texts.insert(index, broken)
    with tempfile.TemporaryDirectory() as folder, patch.object(json_stream, "_CHUNK", chunk):
        result = [row for _, row in scan_rows(write(folder, "[\n" + ",\n".join(texts) + "\n]"))]
    if index == len(rows):
        assert isinstance(result[-1], DataError)
        assert result[:-1] == rows
    else:
        assert isinstance(result[index], DataError)
        assert [row for row in result if not isinstance(row, DataError)] == rows
        assert len(result) == len(rows) + 1


def test_a_fault_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{\n "a": 1,\n "b": x\n}', encoding="utf-8")
    with Content(path, "a") as content, pytest.raises(JsonFault, match="Expecting value, in line 3"):
        JsonStream(content).value()


def test_only_the_value_in_hand_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"a": "x" * 1000}] * 2000), encoding="utf-8")
    with Content(path, "a") as content, patch.object(json_stream, "_CHUNK", 4000):
        stream = JsonStream(content)
        stream.skip("[")
        longest = 0
        while not stream.skip("]"):
            stream.skip(",")
            stream.value()
            longest = max(longest, len(stream._text))
    assert longest < 10_000
