"""The output file of `--out`: checked before any work, and replaced as a whole at the end.

An existing file is replaced, unless it is an input of the command, by any path, link or spelling.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gnomon.core.boundary import shown
from gnomon.core.errors import ConfigError
from gnomon.data.reading.sources import files_of


def check_out(out: Path | None, inputs: Iterable[str | Path | None], option: str = "--out") -> None:
    """Refuse an `--out` that would replace an input, or that cannot be a file.

    Args:
        out: the file to write; `None` if the command writes none.
        inputs: inputs of the command, as the user names them: data, models, `file.py:function`.
        option: the option that names the file.

    Raises:
        ConfigError: `out` is an input, lies in one, or is a folder.
    """
    if out is None:
        return
    if os.path.isdir(out):
        raise ConfigError(f"{option} {shown(out)} is a folder; give the name of a file.")
    for name in inputs:
        for path in _files_of(name):
            if _is_same(out, path):
                raise ConfigError(
                    f"{option} {shown(out)} is {shown(path)}, which this command reads; give another file."
                )
            if os.path.isdir(path) and _target(out).is_relative_to(path.resolve()):
                raise ConfigError(
                    f"{option} {shown(out)} lies in {shown(path)}, which this command reads; give another."
                )


def _files_of(name: str | Path | None) -> list[Path]:
    """The existing files and folders that a name may refer to."""
    if name is None:
        return []
    text = str(name)
    source, code = Path(text).expanduser(), Path(text.rpartition(":")[0]).expanduser()
    return [*files_of(source), *([code] if ":" in text and os.path.exists(code) else [])]


def _is_same(out: Path, path: Path) -> bool:
    return os.path.exists(out) and os.path.samefile(out, path)


def _target(out: Path) -> Path:
    """The path of the file to write: links of parent folders are resolved, the file itself may be a link."""
    return out.parent.resolve() / out.name
