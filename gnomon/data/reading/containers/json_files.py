"""Files of JSON: one row a line, a list, one object after another, or an object with a list of rows in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from gnomon.core.errors import DataError
from gnomon.data.reading.containers.json_elements import elements
from gnomon.data.reading.containers.json_layout import JsonLayout, json_layout
from gnomon.data.reading.containers.json_stream import JsonStream
from gnomon.data.reading.content import Content
from gnomon.data.reading.rows import Row, RowDecoder, ScannedRow
from gnomon.data.reading.text_encodings import not_utf8

_BLANK = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"


def scan_json(file: Path, name: str, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of a file of JSON.

    Args:
        file: the file.
        name: its name, for the progress.
        split: key of the list of rows, where an object has several lists.

    Raises:
        DataError: the object has several lists, or none of that key.
    """
    layout = _layout_of(_Version.of(file), split)
    with Content(file, name) as content:
        if layout.kind == "lines":
            yield from _scan_lines(content)
            return
        for number, row in enumerate(elements(JsonStream(content), layout), start=1):
            yield f"row {number}", row


def json_title(file: Path, split: str | None) -> str:
    """Describe how a file of JSON is laid out; `split` is the key of its list of rows, if it has several."""
    return _layout_of(_Version.of(file), split).title


class _Version(NamedTuple):
    """A file, and what changes when it is written."""

    file: Path
    size: int
    changed: int

    @classmethod
    def of(cls, file: Path) -> _Version:
        facts = file.stat()
        return cls(file, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _layout_of(version: _Version, split: str | None) -> JsonLayout:
    """The layout of a file, which is read several times."""
    with Content(version.file, str(version.file)) as content:
        return json_layout(content, split)


def _scan_lines(content: Content) -> Iterator[ScannedRow]:
    decoder = RowDecoder()
    for number, line in content.lines():
        where = f"line {number}"
        if isinstance(line, DataError):
            yield where, line
        elif line.strip(_BLANK):
            try:
                yield where, _row(decoder, line.removeprefix(_MARK).strip(_BLANK), content.sample)
            except DataError as error:
                cut = content.grew and not line.endswith(b"\n")
                yield where, DataError("the line is incomplete: the file is still written.") if cut else error


def _row(decoder: RowDecoder, line: bytes, sample: bytes) -> Row:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(not_utf8(sample + line)) from None
    try:
        value, end = decoder.value(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON ({_reason(error, line)}); fix it.") from None
    if end < len(text):
        raise DataError(f"not valid JSON (more text after the object, at character {end + 1}); fix it.")
    return decoder.row(value, text)


def _reason(error: Exception, line: bytes) -> str:
    if b"\0" in line:
        return "it holds NUL bytes, as after a crash or in UTF-16 without a mark"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, at character {error.pos + 1}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
