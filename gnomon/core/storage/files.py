"""Atomic files in JSON and JSON Lines: written completely or not at all."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gnomon.core.errors import DataError
from gnomon.core.storage.leftovers import temporary_file


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` when it is complete, or never: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path.parent) as (temporary, file):
        yield file
        file.flush()
        os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        sync_entry(path.parent)


def sync_entry(folder: Path) -> None:
    """Flush a folder's list of names to the disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Flush a folder's files and their names to the disk."""
    for file in folder.iterdir():
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())
    sync_entry(folder)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content`, or leave it as it was."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomically(path) as file:
        file.write(data)


def to_json(value: Any) -> Any:
    """Convert to plain JSON values: dataclasses become mappings, numbers that are not finite become null.

    A dataclass field's metadata may leave it out: `core.types.SPARSE` and `UNWRITTEN`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if _written(f, getattr(value, f.name))]
        return {f.name: to_json(getattr(value, f.name)) for f in fields}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):
        return to_json(value.item())
    return value


def _written(field: dataclasses.Field[Any], value: Any) -> bool:
    rule = field.metadata.get("json")
    return rule is None or (rule == "unless default" and value != field.default)


def json_text(value: Any) -> str:
    """Format `value` as indented JSON, with a line end."""
    return json.dumps(to_json(value), ensure_ascii=False, indent=2) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomically(path, json_text(value))


def read_json(path: Path) -> Any:
    """Read a JSON file that Gnomon wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it, and it is written again.") from None


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object per line, atomically, as the rows come; returns their number."""
    count = 0
    with atomically(path) as file:
        for row in rows:
            file.write((json.dumps(to_json(row), ensure_ascii=False) + "\n").encode())
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file; an error names the line."""
    for _, row in numbered_jsonl(path):
        if isinstance(row, DataError):
            raise row
        yield row


def numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | DataError]]:
    """Yield the number of each line that is not blank, with its object or its error."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); give the path of a JSON-lines file."
        ) from None
    with file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                # Decoded line by line, so that a fault has a line; the first may start with a byte-order mark.
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                yield number, DataError(f"{path}, line {number}: not valid JSON in UTF-8 ({error}); fix it.")
                continue
            if not isinstance(row, dict):
                row = DataError(f"{path}, line {number}: not a JSON object; write one object a line.")
            elif b"\\u" in line and not is_text(row):
                row = DataError(f"{path}, line {number}: {NO_TEXT}")
            yield number, row


NO_TEXT = "it holds half of a surrogate pair, which is no character; remove it."


def is_text(value: Any) -> bool:
    """Return whether all texts of a JSON value can be written as UTF-8: JSON can spell half a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    except RecursionError:
        pass  # values nested so deeply are refused where they are used
    return True
