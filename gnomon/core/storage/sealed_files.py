"""Text files with a digest of their own content, so that Gnomon replaces only files that nobody else changed.

The digest is a key of a JSON file, and the last line, a comment, of a YAML, HTML or Markdown file. It moves
with the file, needs no record beside it, and is complete whenever the file is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Set
from pathlib import Path
from typing import Any

from gnomon.core.errors import RunError
from gnomon.core.storage.files import to_json, write_atomically
from gnomon.core.storage.ownership import RECORD_DIGEST, read_record, seal

RUN_FILES = ("config.yaml", "report.html", "environment.json")
MARK = "written by gnomon, sha256 "
COMMENTS = {".yaml": ("# ", ""), ".html": ("<!-- ", " -->"), ".md": ("<!-- ", " -->")}
_LINE = re.compile(rb"(?:# |<!-- )written by gnomon, sha256 (?P<digest>[0-9a-f]{64})(?: -->)?\n")


def is_sealed(path: Path) -> bool:
    """Return whether a file is as Gnomon wrote it."""
    if path.suffix == ".json":
        return read_record(path) is not None
    content, digest = _parts(path)
    return digest is not None and hashlib.sha256(content).hexdigest() == digest


def has_seal(path: Path) -> bool:
    """Return whether a file has a digest of itself, right or wrong; files of older versions may have none."""
    if path.suffix != ".json":
        return _parts(path)[1] is not None
    return _has_keys(path, {RECORD_DIGEST})


def check_sealed(path: Path) -> None:
    """Check that Gnomon may replace a file.

    Raises:
        RunError: there is a file that Gnomon did not write, or that somebody changed.
    """
    if os.path.lexists(path) and (path.is_symlink() or not is_sealed(path)):
        raise RunError(
            f"{path} is not as Gnomon wrote it, and would be replaced; move it away, or give another folder."
        )


def write_sealed(path: Path, content: str | bytes) -> None:
    """Write a YAML, HTML or Markdown file whose last line has its digest; replaces only such a file.

    Raises:
        RunError: the existing file was written or changed by somebody else.
    """
    check_sealed(path)
    write_atomically(path, _with_line(path, content))


def write_sealed_json(path: Path, value: Any) -> None:
    """Write a mapping as JSON with its digest as a key; replaces only such a file.

    Raises:
        RunError: the existing file was written or changed by somebody else.
    """
    check_sealed(path)
    write_atomically(path, json.dumps(seal(to_json(value)), ensure_ascii=False, indent=2) + "\n")


def is_run(folder: Path) -> bool:
    """Return whether a folder is one of Gnomon's runs, by the keys of its `environment.json`."""
    return _has_keys(folder / RUN_FILES[-1], {"gnomon", "command", "seed"})


def is_comparison(folder: Path) -> bool:
    """Return whether a folder is a comparison by Gnomon, on one or several data sets, by the keys of its file."""
    one = _has_keys(folder / "compare.json", {"recipe", "algorithms", "seeds", "runs"})
    return one or _has_keys(folder / "sets.json", {"name", "sets", "waiting"})


def adopt_run(folder: Path) -> None:
    """Add digests to the files of a run whose version wrote none; `environment.json` is last, as a marker."""
    if is_run(folder) and not has_seal(folder / RUN_FILES[-1]):
        for name in RUN_FILES:
            adopt_file(folder / name)


def adopt_file(path: Path) -> None:
    """Add a digest to a file that has none."""
    if not path.is_file() or path.is_symlink() or has_seal(path):
        return
    if path.suffix == ".json":
        text = json.dumps(seal(json.loads(path.read_text(encoding="utf-8"))), ensure_ascii=False, indent=2)
        write_atomically(path, text + "\n")
    else:
        write_atomically(path, _with_line(path, path.read_bytes()))


def without_seal(text: str) -> str:
    """Return the text of a file without the line that has its digest."""
    return _LINE.sub(b"", text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _has_keys(path: Path, keys: Set[str]) -> bool:
    """Return whether a file, not a link, is JSON with these keys."""
    if not path.is_file() or path.is_symlink():
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and keys <= content.keys()


def _with_line(path: Path, content: str | bytes) -> bytes:
    data = content.encode("utf-8") if isinstance(content, str) else content
    data = data if data.endswith(b"\n") else data + b"\n"
    before, after = COMMENTS[path.suffix]
    return data + f"{before}{MARK}{hashlib.sha256(data).hexdigest()}{after}\n".encode()


def _parts(path: Path) -> tuple[bytes, str | None]:
    """Split a file into the content before its seal and the seal's digest; `None` for a file without a seal."""
    data = path.read_bytes() if path.is_file() else b""
    seals = list(_LINE.finditer(data))
    if not seals or seals[-1].end() != len(data):
        return data, seals[-1]["digest"].decode() if seals else None
    return data[: seals[-1].start()], seals[-1]["digest"].decode()
