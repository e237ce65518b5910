"""The contract of a format: it turns rows of a published layout into rows in Gnomon's own layout, and back.

Gnomon's own rows are described in `gnomon.data.records`, which parses and checks them: a format moves contents to
other keys and decides nothing that a record's parser decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, NamedScores, Preference, Prompt, Ranking
from gnomon.data.reading.conversations import REFUSED_COLUMNS
from gnomon.data.reading.media.columns import MEDIA_COLUMNS, media_cells
from gnomon.data.reading.readers import Row, ScannedRow
from gnomon.data.reading.row_fields import filled

EVERY_KIND = (
    "system",
    "weight",
    "tools",
    "chat_template_kwargs",
    *REFUSED_COLUMNS,
    *MEDIA_COLUMNS,
)  # keys that the parsers of all kinds read
KEYS_OF_KIND: dict[type, tuple[str, ...]] = {
    Preference: ("probability", "margin", "tie"),
    Label: ("label", "good"),
    Demonstration: ("label", "good", "answer"),
    Prompt: ("id", "answer"),
    Ranking: (),
    NamedScores: ("scores",),
}


class UnusedRow(DataError):
    """A valid row that holds no record of the wanted kind, such as a battle without a vote."""


class JoinedRow(UnusedRow):
    """A row whose contents are part of a record at another row's position, such as a ranked reply of a tree."""

    def __init__(self) -> None:
        super().__init__("it is part of another row's record")


class Format:
    """A published layout of rows. A subclass defines `evidence` and `convert`, or `scan` in place of the latter.

    Attributes:
        name: name for `--format`, recipes and `gnomon data convert --to`.
        title: name in messages, with its article if it needs one.
        kinds: kinds of records that rows can be read as; the first is the default. Empty: any kind.
        writes: kinds of records that can be written in this layout.
        written_as: container of written rows: JSON lines, or one JSON list.
        general: whether the layout is known by a few common names of columns only; it gives way to a specific
            one that a file has as well.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    kinds: ClassVar[tuple[type, ...]]
    writes: ClassVar[tuple[type, ...]] = ()
    written_as: ClassVar[Literal["jsonl", "json"]] = "jsonl"
    general: ClassVar[bool] = False

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Return why a row has this layout, as a clause for messages, or `None` if it has not.

        Only the row's own layout counts; whether it can be read is found out later.
        """
        raise NotImplementedError

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Return the kind that rows are read as where none is asked for."""
        return self.kinds[0]

    def is_certain(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether rows that have this layout leave no other reading, though their columns fit one.

        Args:
            rows: the first rows of a file.
        """
        return False

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row | DataError]:
        """Return a row's records of a kind as rows in Gnomon's own layout.

        A row that holds several records may hold one that is not used: its error stands in place of its row.

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

        A row that holds none is yielded as its `UnusedRow` or `JoinedRow`, a damaged one as its `DataError`.
        The columns of a row that hold media go with each of its records.

        Args:
            kind: one of `kinds`.
            rows: all rows of the file.
        """
        for where, row in rows:
            if isinstance(row, DataError):
                yield where, row
                continue
            try:
                converted = [_beside(media_cells(row), own) for own in self.convert(kind, row)]
            except DataError as error:
                yield where, error
                continue
            yield from ((where, own) for own in converted)

    def keeps(self, kind: type) -> Collection[str]:
        """Return the parts of `formats.common.record_parts` that written rows of a kind have.

        A conversion counts the records that lose another one. What changes the meaning of a record is refused by
        `write` instead.
        """
        return ()

    def write(self, record: Any) -> Row:
        """Return a record of a kind in `writes` as a row of this layout.

        Raises:
            DataError: the layout has no place for something that the record holds; the message names it.
        """
        raise NotImplementedError


def _beside(media: Row, own: Row | DataError) -> Row | DataError:
    return {**media, **own} if media and not isinstance(own, DataError) else own


def carried(row: Mapping[str, Any], kind: type, used: Collection[str]) -> Row:
    """Return the keys that a format does not convert, for the record's parser and for rewards.

    Those that the parser reads count as read; the others are reported as not read.

    Args:
        row: a row of the file.
        kind: of the record.
        used: keys that the format converts.
    """
    rest = {key: value for key, value in row.items() if key not in used}
    parsed = {key: row.get(key) for key in (*EVERY_KIND, *KEYS_OF_KIND[kind]) if key not in used}
    return {**rest, **{key: value for key, value in parsed.items() if key in rest}}


def has_value(row: Mapping[str, Any], *keys: str) -> bool:
    """Return whether one of the keys has a value, perhaps an empty one."""
    return any(row.get(key) is not None for key in keys)


def only_column(row: Mapping[str, Any], names: Collection[str]) -> str | None:
    """Return the one column of some names that has a value; of several, the one that is filled.

    Args:
        row: a row of the file.
        names: names of columns for the same content.

    Returns:
        Its name; `None` if there is none, or more than one is filled.
    """
    keys = [name for name in names if has_value(row, name)]
    keys = keys if len(keys) < 2 else [key for key in keys if filled(row.get(key))]
    return keys[0] if len(keys) == 1 else None


def source_column(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return which of some names for the same content a row has.

    Args:
        row: a row of the file.
        names: names of columns; the first is the usual one.

    Returns:
        The column with a value; without one, a column that is null, else the first name.

    Raises:
        DataError: several columns are filled.
    """
    column = only_column(row, names)
    if column is not None:
        return column
    several = [name for name in names if filled(row.get(name))]
    if several:
        raise DataError(f"it has {' and '.join(several)}; map the right one with --columns")
    return next((name for name in names if name in row), names[0])
