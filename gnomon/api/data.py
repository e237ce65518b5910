"""Python calls for data files: inspect and convert."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.api.recipes import Name
from gnomon.data.conversion import Conversion, convert_file
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import Inspection, inspect as read_file


def inspect(file: Name, *, format: str = "", columns: Mapping[str, Any] | None = None) -> Inspection:
    """Inspect a data file: its record type, valid records, and rejected rows with reasons.

    Args:
        file: path of the file.
        format: name of its format, where that is not recognized or ambiguous.
        columns: mapping of its columns, for another layout: `{"prompt": "question", …}`.

    Raises:
        DataError: the file cannot be read, is empty, or has no valid record of any type.
    """
    return read_file(Path(file), layout=RowLayout.of(format, columns))


def data_convert(
    file: Name,
    out: Name,
    *,
    to: str,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Convert a data file to another format; rows that are not used are written to OUT.rejected.jsonl.

    Args:
        file: path of the file.
        out: the file to write, JSON lines.
        to: name of the format to write, such as `trl`; `gnomon` for Gnomon's own.
        format: name of the file's format, where that is not recognized or ambiguous.
        columns: mapping of its columns, for another layout.
        overwrite: whether to replace existing files.

    Raises:
        ConfigError: a format is unknown, or `out` exists.
        DataError: the file cannot be read, or no row can be written.
    """
    return convert_file(Path(file), Path(out), to, RowLayout.of(format, columns), overwrite=overwrite)
