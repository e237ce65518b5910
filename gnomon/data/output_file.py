"""The file that a data command writes: checked before any work."""

from __future__ import annotations

import os
from pathlib import Path

from gnomon.core.errors import ConfigError
from gnomon.data.reading.readers import locate

ENDINGS = (".jsonl", ".ndjson")


def check_output(out: Path, source: Path, *, overwrite: bool = False) -> None:
    """Refuse an output that is no JSON-lines file, that exists, or that would replace the data it is made of.

    Args:
        out: the file to write.
        source: the file or folder that is read.
        overwrite: whether an existing file may be replaced.

    Raises:
        ConfigError: the output cannot be used.
    """
    if out.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {out}: JSON lines are written; give a name that ends in .jsonl.")
    if not out.exists():
        return
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; give the name of a file.")
    if not overwrite:
        raise ConfigError(f"{out} exists; give another --out, or --overwrite.")
    read = locate(source)[0]
    if read.exists() and os.path.samefile(out, read):
        raise ConfigError(f"--out {out} is the file that is read; give another.")
