"""Readers of users' data: files of any container, folders of `datasets`, several files, pipes, and the hub.

Each row comes with its position, so that errors can name it: `line 3` of a text file, `row 3` otherwise, with
several files `line 3 of FILE`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.data.reading.containers.dataset_folders import is_dataset_folder, scan_dataset_folder
from gnomon.data.reading.containers.hub_datasets import is_hub_name, scan_hub_dataset
from gnomon.data.reading.containers.recognition import BY_ENDING, FORMATS, container_of, container_title
from gnomon.data.reading.content import data_suffix
from gnomon.data.reading.row_fields import decode_cells
from gnomon.data.reading.rows import Row, ScannedRow
from gnomon.data.reading.sources import (
    digest_source,
    files_of,
    is_data_file,
    is_pattern,
    locate,
)
from gnomon.data.reading.standard_input import copy_of_pipe, is_pipe

__all__ = ["Row", "ScannedRow", "digest_source", "is_data_file", "locate", "read_rows", "scan_rows"]


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a source, each with its position; raises `DataError` at the first fault.

    A split of a folder is addressed as `folder#split`, likewise a list in an object of JSON.
    """
    for where, row in scan_rows(path):
        if isinstance(row, DataError):
            raise row
        yield where, row


def scan_rows(path: Path) -> Iterator[ScannedRow]:
    """Yield rows as `read_rows` does, but an unreadable row as its error, followed by the next row.

    Texts that are JSON of messages become messages; see `decode_cells`. An error that makes the whole source
    unreadable is raised.
    """
    for where, row in _raw_rows(path):
        if isinstance(row, dict):
            try:
                row = decode_cells(row)
            except DataError as error:
                row = error
        if isinstance(row, DataError):
            row = DataError(f"{path}, {where}: {str(row).rstrip('.')}.")
        yield where, row


def source_title(path: Path) -> str:
    """Describe the container of a source, as in `JSON lines, gzip`.

    Raises:
        DataError: it cannot be read.
    """
    source, split = locate(path)
    if is_pattern(source):
        files = files_of(source)
        titles = sorted(set(map(_title_or_damage, files)))
        count = "1 file" if len(files) == 1 else f"{len(files):,} files"
        return f"{count}: {'; '.join(titles)}" if files else "no files"
    if os.path.isdir(source):
        return "a folder of datasets"
    if not is_pipe(source) and not os.path.exists(source):
        return "a data set of the hub"
    try:
        return container_title(copy_of_pipe(source) if is_pipe(source) else source, str(source), split)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def _title_or_damage(file: Path) -> str:
    try:
        return source_title(file)
    except DataError:  # its rows are reported as rejected
        return "not readable"


def _raw_rows(path: Path) -> Iterator[ScannedRow]:
    """Yield the rows as they are in the source; the errors of rows name neither it nor the position."""
    source, split = locate(path)
    if is_pattern(source):
        yield from _several(path)
    elif not is_pipe(source) and not os.path.exists(source):
        if not is_hub_name(str(source)) or data_suffix(str(source)) in BY_ENDING:
            raise _missing(path, source)
        yield from scan_hub_dataset(str(source), split)
    else:
        try:
            yield from _one(source, split)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def _one(source: Path, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of one file, pipe or folder."""
    name = str(source)
    if source.is_dir():
        if not is_dataset_folder(source):
            raise DataError(f"it is a folder that save_to_disk did not write; {_files_in(source)}.")
        yield from scan_dataset_folder(source, name, split)
        return
    file = copy_of_pipe(source) if is_pipe(source) else source
    yield from container_of(file, name).scan(file, name, split)


def _several(path: Path) -> Iterator[ScannedRow]:
    """Yield the rows of all files of a pattern. A file that cannot be read at all is yielded as its error."""
    source, split = locate(path)
    files = files_of(source)
    if not files:
        raise DataError(f"no file matches {source}; give a pattern of existing files, in quotes.")
    for file in files:
        try:
            yield from ((f"{where} of {file}", row) for where, row in _one(file, split))
        except DataError as error:
            yield str(file), error


def _files_in(folder: Path) -> str:
    """Advice on a folder: the pattern of the data files in it, if there are any."""
    endings = sorted({"".join(p.suffixes[-2:]) for p in folder.iterdir() if is_data_file(p.name)})
    if not endings:
        return f"give a file that ends in {FORMATS}"
    return f"name the files in it, as in '{folder}/*{endings[0]}'"


def _missing(path: Path, source: Path) -> DataError:
    problem = "a symbolic link that leads nowhere" if os.path.islink(source) else "no such file"
    return DataError(f"{path} cannot be read ({problem}); give a file that ends in {FORMATS}.")
