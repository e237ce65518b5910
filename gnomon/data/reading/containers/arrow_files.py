"""Files of Parquet and Arrow, the latter as a file (also called Feather) or a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.data.reading.containers.arrow_rows import (
    BATCH,
    RowGroup,
    check_names,
    damage_errors,
    first_line,
    numbered_rows,
)
from gnomon.data.reading.rows import ScannedRow


def scan_parquet(file: Path, name: str, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of a Parquet file.

    Args:
        file: the file.
        name: its name, for the progress.
        split: not possible here.

    Raises:
        DataError: the file's description of its rows is damaged.
    """
    import pyarrow.parquet

    _refuse_split(split)
    try:
        parquet = pyarrow.parquet.ParquetFile(file)
    except damage_errors() as error:
        raise _unreadable("Parquet", error) from None
    with parquet:
        check_names(parquet.schema_arrow.names)
        groups = [
            RowGroup(
                parquet.metadata.row_group(n).num_rows,
                partial(parquet.iter_batches, batch_size=BATCH, row_groups=[n]),
            )
            for n in range(parquet.num_row_groups)
        ]
        yield from numbered_rows(groups, name, parquet.metadata.num_rows)


def scan_arrow(file: Path, name: str, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of an Arrow file.

    Args:
        file: the file.
        name: its name, for the progress.
        split: not possible here.

    Raises:
        DataError: the file's description of its rows is damaged.
    """
    import pyarrow.ipc

    _refuse_split(split)
    yield from _scan_messages(file, name, pyarrow.ipc.open_file, _batches)


def scan_arrow_stream(file: Path, name: str, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of an Arrow stream, as `datasets` keeps them in its cache.

    Args:
        file: the file.
        name: its name, for the progress.
        split: not possible here.

    Raises:
        DataError: the stream's description of its rows is damaged.
    """
    import pyarrow.ipc

    _refuse_split(split)
    yield from _scan_messages(file, name, pyarrow.ipc.open_stream, _small)


def _scan_messages(
    file: Path, name: str, open_reader: Callable[[Any], Any], batches: Callable[[Any], Iterator[Any]]
) -> Iterator[ScannedRow]:
    """Yield the rows of an Arrow file or stream, whose batches `batches` takes from the reader."""
    import pyarrow

    with pyarrow.OSFile(str(file)) as source:
        try:
            reader = open_reader(source)
        except damage_errors() as error:
            raise _unreadable("Arrow", error) from None
        check_names(reader.schema.names)
        yield from numbered_rows([RowGroup(None, partial(batches, reader))], name, 0)


def _batches(reader: Any) -> Iterator[Any]:
    yield from _small(reader.get_batch(number) for number in range(reader.num_record_batches))


def _small(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield batches of at most `BATCH` rows."""
    for batch in batches:
        yield from (batch.slice(start, BATCH) for start in range(0, batch.num_rows, BATCH))


def _unreadable(container: str, error: Exception) -> DataError:
    return DataError(f"not readable as {container} ({first_line(error)}); write it again.")


def _refuse_split(split: str | None) -> None:
    if split is not None:
        raise DataError(f"the file has no splits; leave '#{split}' away.")
