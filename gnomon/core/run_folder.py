"""The run folder: everything that a later reader needs, written so that a crash loses nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from gnomon.core.errors import DataError
from gnomon.core.leftovers import temporary_file
from gnomon.core.redaction import redact_arguments


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write into that takes the place of `path` in the end, or never: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path.parent) as (temporary, file):
        yield file
        file.flush()
        os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        sync_entry(path.parent)


def sync_entry(folder: Path) -> None:
    """Bring a folder's list of names to the disk, so that a rename in it outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Bring a folder's files and their names to the disk."""
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
    """Plain JSON values: dataclasses become mappings, what is not a finite number becomes null.

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


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomically(path, json.dumps(to_json(value), ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that Gnomon wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it to have it made again.") from None


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object a line, atomically, as the rows come; returns how many."""
    count = 0
    with atomically(path) as file:
        for row in rows:
            file.write((json.dumps(to_json(row), ensure_ascii=False) + "\n").encode())
            count += 1
    return count


def jsonl(rows: Iterable[Any]) -> bytes:
    """Rows as JSON lines."""
    return b"".join((json.dumps(to_json(row), ensure_ascii=False) + "\n").encode() for row in rows)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; a fault names its line."""
    for _, row in numbered_jsonl(path):
        if isinstance(row, DataError):
            raise row
        yield row


def numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | DataError]]:
    """Each line that is not blank, with its number: its object, or what is wrong with it."""
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
                yield number, DataError(f"{path}, line {number}: not valid JSON in UTF-8 ({error}); mend it.")
                continue
            if not isinstance(row, dict):
                row = DataError(f"{path}, line {number}: not a JSON object; write one object a line.")
            elif b"\\u" in line and not is_text(row):
                row = DataError(f"{path}, line {number}: {NO_TEXT}")
            yield number, row


NO_TEXT = "it holds half of a surrogate pair, which is no character; remove it."


def is_text(value: Any) -> bool:
    """Whether keys and texts of a JSON value can be written as UTF-8: JSON can spell half a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    except RecursionError:
        pass  # what is nested so deeply is refused where it is used
    return True


class StepLog:
    """A JSON-lines file that grows with the steps. On resumption, what came after the checkpoint is cut off.

    With `write` off (another process writes) it does nothing.
    """

    def __init__(self, path: Path, keep_steps: int = 0, *, write: bool = True):
        self.path = path
        self.write = write
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.kept = [row for row in self._written() if row.get("step", 0) <= keep_steps]
            write_jsonl(path, self.kept)

    def _written(self) -> Iterator[dict[str, Any]]:
        """Rows on disk; a last line that a crash cut short is left out."""
        if self.path.exists():
            for _, row in numbered_jsonl(self.path):
                if isinstance(row, DataError):
                    return
                yield row

    def record(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows, each with its `step`."""
        if self.write:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(to_json(row), ensure_ascii=False) + "\n" for row in rows)


class MetricsLog:
    """`metrics.jsonl`: one object a step, with the seconds since the stage began."""

    def __init__(self, path: Path, keep_steps: int = 0, *, write: bool = True):
        self.rows = StepLog(path, keep_steps, write=write)
        kept = self.rows.kept if write else []
        self.started = time.monotonic() - (kept[-1].get("time", 0.0) if kept else 0.0)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step."""
        self.rows.record([{"step": step, "time": round(time.monotonic() - self.started, 3), **metrics}])


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(to_json(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def environment(seed: int, data: Mapping[str, str]) -> dict[str, Any]:
    """What a run depends on besides its recipe."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {
        "gnomon": installed("gnomon-rlhf"),
        "python": platform.python_version(),
        **{name: installed(name) for name in ("torch", "transformers", "peft", "scikit-learn", "numpy")},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "seed": seed,
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([*_program(), *redact_arguments(sys.argv[1:])]),
        "data": dict(data),
    }


def _program() -> list[str]:
    """How this program was started, as one types it."""
    name = Path(sys.argv[0]).name
    return ["python", "-m", "gnomon"] if name == "__main__.py" else [name]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    """The commit of the source that runs, when it runs from a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists() or shutil.which("git") is None:
        return None
    found = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
