"""Tables of text: CSV and TSV with a header."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.data.reading.content import Content, data_suffix
from gnomon.data.reading.counting import counted
from gnomon.data.reading.rows import Row, ScannedRow
from gnomon.data.reading.text_encodings import not_utf8

_QUOTED = re.compile(r'"[^"]*"')
_SEPARATOR = "sep="  # Excel's first line, which names the separator


def scan_table(file: Path, name: str, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of a table; the position of a row is the line where it starts.

    Args:
        file: the file.
        name: its name, for the progress.
        split: not possible here.

    Raises:
        DataError: the header cannot be read.
    """
    if split is not None:
        raise DataError(f"a table has no splits; leave '#{split}' away.")
    csv.field_size_limit(2**31 - 1)  # the default refuses long texts
    with Content(file, name) as content:
        lines = _Lines(content)
        rows = _rows(lines, _style(name, lines, content.sample))
        number, cells = next(rows, (1, []))
        if isinstance(cells, DataError):
            raise DataError(f"line {number}: {cells}")
        header = _header(cells, content.sample, number)
        for number, cells in rows:
            if isinstance(cells, DataError) and len(header) == 1:
                # Every line after it would be a row, also those of a longer text.
                yield f"line {number}", DataError(f"{str(cells).rstrip('.')}; nothing after it can be read.")
                return
            if isinstance(cells, DataError):
                yield f"line {number}", cells
            else:
                yield f"line {number}", _row(header, cells, content.sample)
        if lines.damage is not None:
            yield f"line {lines.start_row()}", lines.damage


@dataclass(frozen=True)
class _Style:
    """How a table is written.

    Attributes:
        delimiter: between two cells.
        spaced: whether a space follows each delimiter, which is no part of a cell.
    """

    delimiter: str
    spaced: bool = False


class _Lines:
    """The lines of a text, some of which can be read again.

    Attributes:
        number: of the line read last.
        damage: why the rest of the file cannot be read; `None` if it can.
    """

    def __init__(self, content: Content):
        self.number = 0
        self.damage: DataError | None = None
        self._ahead: deque[str] = deque()
        self._row: list[str] = []
        self._rest = self._decoded(content)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._rest)
        self.number += 1
        self._row.append(line)
        return line

    def start_row(self) -> int:
        """Mark the next line as the first of a row; returns its number."""
        self._row.clear()
        return self.number + 1

    def go_back(self) -> None:
        """Go back to the second line of the row."""
        self.number -= len(self._row) - 1
        self._ahead.extendleft(reversed(self._row[1:]))

    def _decoded(self, content: Content) -> Iterator[str]:
        returns_only = b"\r" in content.sample and b"\n" not in content.sample  # as old Macs end lines
        for _, line in content.lines():
            if isinstance(line, DataError):
                self.damage = line
                return
            text = line.decode("utf-8", "surrogateescape")
            yield from text.splitlines(keepends=True) if returns_only else (text,)


def _rows(lines: _Lines, style: _Style) -> Iterator[tuple[int, list[str] | DataError]]:
    """Yield the cells of each row with its first line's number.

    A quote that is never closed makes its line unreadable, and not the rows after it.
    """
    while True:
        number = lines.start_row()
        try:
            reader = csv.reader(lines, delimiter=style.delimiter, skipinitialspace=style.spaced, strict=True)
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.damage is not None:
                return
            yield number, DataError(f"not valid CSV ({error}); fix the quotes there.")
            lines.go_back()
            continue
        if cells:
            yield number, cells


def _style(name: str, lines: _Lines, sample: bytes) -> _Style:
    """Return how a table is written: TSV with tabs, others with what the first line names or has most of."""
    first = sample.decode("utf-8", "replace").splitlines()[:1]
    line = _QUOTED.sub("", first[0]) if first else ""
    if line.lower().startswith(_SEPARATOR) and len(line) > len(_SEPARATOR):
        next(lines)
        return _Style(line[len(_SEPARATOR)])
    delimiter = "\t" if data_suffix(name) == ".tsv" else max(",;\t", key=line.count)
    return _Style(delimiter, 0 < line.count(delimiter) == line.count(f"{delimiter} "))


def _header(cells: Sequence[str], sample: bytes, number: int) -> list[str]:
    """Return the names of the columns, without empty ones at the end."""
    if not _is_utf8(cells):
        raise DataError(f"line {number}: {not_utf8(sample)}")
    names = list(cells)
    while names and not names[-1].strip():
        names.pop()
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"line {number}: two columns are called '{twice}'; rename one of them.")
    return names


def _row(header: Sequence[str], cells: list[str], sample: bytes) -> Row | DataError:
    """Return a row, or why it is none."""
    if not _is_utf8(cells):
        return DataError(not_utf8(sample + "".join(cells).encode("utf-8", "surrogateescape")))
    if len(cells) < len(header) or any(cells[len(header) :]):
        count = f"{counted(len(cells), 'columns')}, but the header has {len(header)}"
        return DataError(f"{count}; quote texts that hold a separator.")
    return dict(zip(header, cells, strict=False))


def _is_utf8(cells: Sequence[str]) -> bool:
    text = "".join(cells)
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
