"""Folders that `save_to_disk` of `datasets` wrote: a data set, or one split of several."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.data.reading.containers.arrow_rows import BATCH, RowGroup, damage_errors, first_line, numbered_rows
from gnomon.data.reading.rows import ScannedRow

_MARKS = ("state.json", "dataset_dict.json")


def is_dataset_folder(folder: Path) -> bool:
    """Return whether `save_to_disk` wrote a folder."""
    return any((folder / name).is_file() for name in _MARKS)


def scan_dataset_folder(folder: Path, name: str, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of a folder.

    Args:
        folder: that `save_to_disk` wrote.
        name: its name, for the progress and messages.
        split: of several splits, the one to read.

    Raises:
        DataError: it cannot be loaded, or the split is not one of it; the message does not name the folder.
    """
    import datasets

    try:
        dataset = datasets.load_from_disk(str(folder))
    except damage_errors() as error:
        raise DataError(f"not readable as a data set ({first_line(error)}); save it again.") from None
    if isinstance(dataset, datasets.DatasetDict):
        dataset = dataset[split_name(list(dataset), split, f"{folder}#")]
    elif split is not None:
        raise DataError(f"it is one data set without splits; leave '#{split}' away.")
    yield from numbered_rows(_groups(dataset), name, len(dataset))


def split_name(names: list[str], split: str | None, prefix: str) -> str:
    """Return the split to read: the one that the user named, or the only one.

    Args:
        names: of all splits.
        split: that the user named, if any.
        prefix: the source of the data up to the split, for the advice.

    Raises:
        DataError: there are several and none is named, or not the named one.
    """
    listed = ", ".join(names)
    if split is None and len(names) != 1:
        raise DataError(f"it has the splits {listed}; name one, as in {prefix}{names[0] if names else 'train'}.")
    if split is not None and split not in names:
        raise DataError(f"it has no split '{split}'; it has {listed}.")
    return names[0] if split is None else split


def _groups(dataset: Any) -> Iterator[RowGroup]:
    table = dataset.with_format("arrow")
    for start in range(0, len(dataset), BATCH):
        end = min(start + BATCH, len(dataset))
        yield RowGroup(end - start, partial(_batches, table, start, end))


def _batches(table: Any, start: int, end: int) -> list[Any]:
    batches: list[Any] = table[start:end].to_batches()
    return batches
