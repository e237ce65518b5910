"""Files that Gnomon writes beside data: rejected rows, flagged rows, reports. A pattern leaves them out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gnomon.core.progress import console
from gnomon.data.reading.counting import counted, verb

SIDE_FILE = re.compile(r"(?:.+\.)?(?:rejected\.jsonl|flagged\.jsonl|report\.json|report\.txt)")
KEYS = {
    "rejected": {"where", "reason"},
    "flagged": {"where", "filter", "reason"},
    "report": {"filters", "quality", "rejected"},
}
FIRST_BYTES = 1 << 20  # of a file, in which its first row is looked for
NAMED = 3  # files that the note names
_noted: set[str] = set()


def without_side_files(pattern: Path, files: Sequence[Path]) -> list[Path]:
    """Leave files out that Gnomon wrote beside data, unless the last part of the pattern names them.

    Which are left out is printed once for each pattern.

    Args:
        pattern: such as `films/*.jsonl`.
        files: that it matches.
    """
    side = [file for file in files if is_side_file(file) and _kind(file) not in pattern.name]
    if side and str(pattern) not in _noted:
        _noted.add(str(pattern))
        names = ", ".join(file.name for file in side[:NAMED]) + (" …" if len(side) > NAMED else "")
        note = f"{counted(len(side), 'files')} {verb(len(side), 'are')} left out, which Gnomon wrote beside data"
        line = f"{pattern}: {note}: {names}; name one to read it"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    left_out = set(side)
    return [file for file in files if file not in left_out]


def is_side_file(file: Path) -> bool:
    """Return whether Gnomon wrote a file beside data: by its name, and the keys of its first row, if any."""
    if not SIDE_FILE.fullmatch(file.name) or not file.is_file():
        return False
    if file.suffix == ".txt":
        return is_side_file(file.with_suffix(".json"))
    if not file.stat().st_size:
        return True
    row = _first_row(file, whole=_kind(file) == "report")
    return isinstance(row, dict) and KEYS[_kind(file)] <= row.keys()


def _kind(file: Path) -> str:
    return file.name.split(".")[-2]


def _first_row(file: Path, *, whole: bool) -> Any:
    """Decode the first line of a file, or all of it; `None` if it is no JSON."""
    try:
        with file.open("rb") as stream:
            content = stream.read(FIRST_BYTES)
        return json.loads(content if whole else content.partition(b"\n")[0])
    except (OSError, ValueError, RecursionError):
        return None
