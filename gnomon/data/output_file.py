"""The files that a data command writes: checked before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gnomon.core.errors import ConfigError
from gnomon.data.reading.readers import locate

LINES = (".jsonl", ".ndjson")
LIST = (".json",)


def check_output(
    out: Path, source: Path, *, beside: Iterable[Path] = (), overwrite: bool = False, json_list: bool = False
) -> None:
    """Refuse outputs with another ending, that exist, or that would replace the data they are made of.

    Args:
        out: the file to write.
        source: the file or folder that is read.
        beside: other files that are written with it.
        overwrite: whether existing files may be replaced.
        json_list: whether the file is one JSON list, not JSON lines.

    Raises:
        ConfigError: an output cannot be used.
    """
    endings, content = (LIST, "a JSON list is") if json_list else (LINES, "JSON lines are")
    if out.suffix.lower() not in endings:
        raise ConfigError(f"--out {out}: {content} written; give a name that ends in {endings[0]}.")
    read = locate(source)[0]
    for file in (out, *beside):
        if not file.exists():
            continue
        if file.is_dir():
            raise ConfigError(f"{file} is a folder, and a file is to be written; give another --out.")
        if read.exists() and os.path.samefile(file, read):
            raise ConfigError(f"{file} is the file that is read; give another --out.")
        if not overwrite:
            raise ConfigError(f"{file} exists; give another --out, or --overwrite.")
