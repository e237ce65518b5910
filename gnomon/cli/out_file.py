"""The file that a command writes with `--out`: checked before any work, replaced as a whole at its end.

One rule for all commands that write a single file: a file of that name is replaced, unless the command reads it,
through whatever path, link or spelling.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gnomon.core.boundary import shown
from gnomon.core.errors import ConfigError
from gnomon.data.reading.readers import locate


def check_out(out: Path | None, inputs: Iterable[str | Path | None]) -> None:
    """Refuse an `--out` that would replace what the command reads, or that cannot be a file.

    Args:
        out: the file to write; `None` if the command writes none.
        inputs: what the command reads, as the user names it: data, models, `file.py:function`.

    Raises:
        ConfigError: it would.
    """
    if out is None:
        return
    if os.path.isdir(out):
        raise ConfigError(f"--out {shown(out)} is a folder; give the name of a file.")
    for name in inputs:
        for path in _files_of(name):
            if _is_same(out, path):
                raise ConfigError(
                    f"--out {shown(out)} is {shown(path)}, which this command reads; give another file."
                )
            if os.path.isdir(path) and _target(out).is_relative_to(path.resolve()):
                raise ConfigError(
                    f"--out {shown(out)} lies in {shown(path)}, which this command reads; give another."
                )


def _files_of(name: str | Path | None) -> list[Path]:
    """The files and folders that exist and that a name may mean."""
    if name is None:
        return []
    text = str(name)
    paths = [Path(text), locate(Path(text))[0], Path(text.rpartition(":")[0] or text)]
    there = (path.expanduser() for path in dict.fromkeys(paths))
    return [path for path in there if os.path.exists(path)]


def _is_same(out: Path, path: Path) -> bool:
    return os.path.exists(out) and os.path.samefile(out, path)


def _target(out: Path) -> Path:
    """Where the file will lie: links in the folders above are followed, one at its own place is replaced."""
    return out.parent.resolve() / out.name
