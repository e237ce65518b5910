"""The files that a data command writes: checked before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gnomon.core.errors import ConfigError
from gnomon.data.reading.readers import locate

ENDINGS = (".jsonl", ".ndjson")


def check_output(out: Path, source: Path, *, beside: Iterable[Path] = (), overwrite: bool = False) -> None:
    """Refuse outputs that are no JSON-lines file, that exist, or that would replace the data they are made of.

    Args:
        out: the file to write.
        source: the file or folder that is read.
        beside: other files that are written with it.
        overwrite: whether existing files may be replaced.

    Raises:
        ConfigError: an output cannot be used.
    """
    if out.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {out}: JSON lines are written; give a name that ends in .jsonl.")
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
