"""Which container a file is: by its first bytes, else by its ending, else by how its text starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.data.reading.containers.arrow_files import scan_arrow, scan_arrow_stream, scan_parquet
from gnomon.data.reading.containers.json_files import json_title, scan_json
from gnomon.data.reading.containers.tables import scan_table
from gnomon.data.reading.content import Content, compression_of, data_suffix
from gnomon.data.reading.rows import ScannedRow
from gnomon.data.reading.text_encodings import likely_encoding, not_utf8

FORMATS = (
    ".jsonl, .json, .csv, .tsv, .parquet, .arrow or .feather, perhaps with .gz, .bz2, .xz or .zst, or a folder "
    "written by datasets' save_to_disk"
)


@dataclass(frozen=True)
class Container:
    """A kind of file.

    Attributes:
        title: name in messages.
        scan: yields the rows of a file, given its name for messages, and a split.
    """

    title: str
    scan: Callable[[Path, str, str | None], Iterator[ScannedRow]]


JSON = Container("JSON", scan_json)
CSV = Container("CSV", scan_table)
TSV = Container("TSV", scan_table)
PARQUET = Container("Parquet", scan_parquet)
ARROW = Container("Arrow", scan_arrow)
ARROW_STREAM = Container("Arrow, as a stream", scan_arrow_stream)
BY_ENDING = {
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
    ".arrow": ARROW,
    ".feather": ARROW,
}
_BINARY = ((b"PAR1", PARQUET), (b"ARROW1", ARROW), (b"\xff\xff\xff\xff", ARROW_STREAM))
_OTHERS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or save the table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document; save the table as CSV in UTF-8"),
    (b"%PDF", "a PDF document; give its texts as JSON lines"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"FEA1", "a file of the first version of Feather; write it again with version 2"),
    (b"\x80\x04\x95", "a pickle, which could run code when it is read; write it as JSON lines"),
    (b"\x89HDF", "an HDF5 file; write it as Parquet"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run git lfs pull"),
    (b"<!DOCTYPE", "a web page, not the file itself; download it again"),
    (b"<html", "a web page, not the file itself; download it again"),
)
_TAR = slice(257, 262)  # the bytes that hold b"ustar" in a tar archive


def container_of(file: Path, name: str) -> Container:
    """Recognize the container of a file.

    Args:
        file: the file.
        name: its name, whose ending counts where the content is a text.

    Raises:
        DataError: it is none that can be read; the message does not name the file.
    """
    with Content(file, name) as content:
        start, compression = content.sample, content.compression
    for mark, container in _BINARY:
        if start.startswith(mark):
            if compression:
                raise DataError(f"it is {container.title} inside {compression}; unpack it.")
            return container
    if compression and compression_of(start):
        raise DataError(f"it is compressed twice, with {compression} the last time; unpack it once.")
    other = next((what for mark, what in _OTHERS if start.startswith(mark)), None)
    if other is not None or start[_TAR] == b"ustar":
        raise DataError(f"it is {other or 'a tar archive; unpack it'}.")
    return _by_text(start, name)


def _by_text(start: bytes, name: str) -> Container:
    if (encoding := likely_encoding(start[:4096])) is not None and encoding.startswith("UTF-16"):
        raise DataError(not_utf8(start[:4096]))
    ending = data_suffix(name)
    by_ending = BY_ENDING.get(ending)
    if by_ending in (PARQUET, ARROW):
        raise DataError(f"not readable as {by_ending.title} (it does not start as such a file); write it again.")
    looks_like_json = start.lstrip()[:1] in (b"{", b"[")
    if by_ending is not None:
        return JSON if looks_like_json and start.lstrip()[1:].lstrip()[:1] in (b'"', b"{") else by_ending
    if looks_like_json or not ending:
        return JSON if looks_like_json else CSV
    raise DataError(f"the ending '{ending}' is not known; give a file that ends in {FORMATS}.")


def container_title(file: Path, name: str, split: str | None) -> str:
    """Describe the container of a file, as in `JSON lines, gzip`.

    Args:
        file: the file.
        name: its name.
        split: key of the list of rows, where an object of JSON has several lists.
    """
    container = container_of(file, name)
    title = json_title(file, split) if container is JSON else container.title
    with Content(file, name) as content:
        return f"{title}, {content.compression}" if content.compression else title
