"""The contract of a format: it turns rows of a published layout into rows in Gnomon's own layout, and back.

Gnomon's own rows are described in `gnomon.data.records`, which parses and checks them: a format moves contents to
other keys and decides nothing that a record's parser decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from gnomon.core.errors import DataError
from gnomon.data.reading.readers import Row, ScannedRow


class UnusedRow(DataError):
    """A valid row that holds no record of the wanted kind, such as a battle without a vote."""


class Format:
    """A published layout of rows. A subclass defines `evidence` and `convert`, or `scan` in place of the latter.

    Attributes:
        name: name for `--format`, recipes and `gnomon data convert --to`.
        title: name in messages, with its article if it needs one.
        kinds: kinds of records that rows can be read as; the first is the default. Empty: any kind.
        writes: kinds of records that can be written in this layout.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    kinds: ClassVar[tuple[type, ...]]
    writes: ClassVar[tuple[type, ...]] = ()

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Return why a row has this layout, as a clause for messages, or `None` if it has not.

        Only the row's own layout counts; whether it can be read is found out later.
        """
        raise NotImplementedError

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Return the kind that rows are read as where none is asked for."""
        return self.kinds[0]

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Return a row's records of a kind as rows in Gnomon's own layout.

        Args:
            kind: one of `kinds`.
            row: a row of the file. Keys that are not looked up are reported as not read.

        Raises:
            UnusedRow: the row holds no record of that kind.
            DataError: the row is damaged; the message has neither file nor position.
        """
        raise NotImplementedError

    def scan(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[ScannedRow]:
        """Yield a file's records of a kind as rows in Gnomon's own layout, each with its position.

        A row that holds none is yielded as its `UnusedRow`, a damaged one as its `DataError`.

        Args:
            kind: one of `kinds`.
            rows: all rows of the file.
        """
        for where, row in rows:
            if isinstance(row, DataError):
                yield where, row
                continue
            try:
                converted = list(self.convert(kind, row))
            except DataError as error:
                yield where, error
                continue
            yield from ((where, own) for own in converted)

    def write(self, record: Any) -> Row:
        """Return a record of a kind in `writes` as a row of this layout.

        Raises:
            DataError: the layout has no place for something that the record holds; the message names it.
        """
        raise NotImplementedError
