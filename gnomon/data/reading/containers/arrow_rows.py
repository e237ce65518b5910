"""Rows of Arrow's record batches as plain JSON values; a batch with an invalid row is read row by row."""

from __future__ import annotations

import base64
import datetime
import decimal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.core.errors import DataError
from gnomon.data.reading.read_progress import reading
from gnomon.data.reading.rows import Row, ScannedRow
from gnomon.data.reading.tools import without_nulls

BATCH = 1024  # rows that are in memory at a time
STORED_MEDIA = {"bytes", "path"}  # keys of an image, a sound or a video of `datasets`


@dataclass(frozen=True)
class RowGroup:
    """Rows that are read together.

    Attributes:
        size: number of rows; `None` if it is not known before they are read.
        batches: reads them as record batches.
    """

    size: int | None
    batches: Callable[[], Iterable[Any]]


def numbered_rows(groups: Iterable[RowGroup], name: str, total: int) -> Iterator[ScannedRow]:
    """Yield the rows of several groups. The rest of a damaged group is yielded as the reason, once for each row.

    Args:
        groups: the groups, in order.
        name: of the file, for the progress.
        total: number of all rows, for the progress; 0 if it is not known.
    """
    number = 0
    with reading(name, total, "rows") as report:
        for group in groups:
            end = None if group.size is None else number + group.size
            try:
                for batch in group.batches():
                    for row in batch_rows(batch):
                        number += 1
                        yield f"row {number}", row
                    report(number)
            except damage_errors() as error:
                reason = DataError(f"the file is damaged here ({first_line(error)}); write it again.")
                if end is None:
                    yield f"row {number + 1}", reason
                    return
                for row_number in range(number + 1, end + 1):
                    yield f"row {row_number}", reason
                number = end


def batch_rows(batch: Any) -> Iterator[Row | DataError]:
    """Yield the rows of a record batch, each as a row of plain values or the reason why it is none."""
    try:
        rows = _plain_rows(batch)
    except damage_errors():
        for index in range(batch.num_rows):
            try:
                yield from _plain_rows(batch.slice(index, 1))
            except damage_errors() as error:
                yield DataError(f"the row is not valid ({first_line(error)}); fix it.")
        return
    yield from rows


def _plain_rows(batch: Any) -> list[Row]:
    batch.validate(full=True)  # a damaged file may have offsets that lie outside of it
    return [
        without_nulls({key: plain(value) for key, value in row.items()})
        for row in batch.to_pylist(maps_as_pydicts="strict")
    ]


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dates as ISO 8601, bytes as text or else as `{"base64": …}`.

    The bytes of `{"bytes", "path"}`, as `datasets` stores images, sounds and videos, are never text.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        own = {str(key): plain(one) for key, one in value.items()}
        stored = value.keys() == STORED_MEDIA and isinstance(value["bytes"], bytes)
        return {**own, "bytes": _encoded(value["bytes"])} if stored else own
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


def _bytes(value: bytes) -> Any:
    """Texts are bytes where their writer did not mark them as text."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _encoded(value)


def _encoded(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode("ascii")}


def check_names(names: Sequence[str]) -> None:
    """Refuse two columns of one name, of which only the last would be read.

    Raises:
        DataError: there are such columns.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two columns are called '{twice:.60}'; rename one of them.")


def damage_errors() -> tuple[type[Exception], ...]:
    """Exceptions that pyarrow raises for damaged files and invalid values."""
    import pyarrow

    damaged_values = (ValueError, OverflowError, KeyError, TypeError, AttributeError)
    return (pyarrow.ArrowException, OSError, RuntimeError, *damaged_values)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, without a full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
