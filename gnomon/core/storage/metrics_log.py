"""Metrics file: one line per step."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.storage.files import numbered_jsonl, to_json, write_jsonl


class StepLog:
    """A JSON-lines file that grows with the steps. On resumption, rows after the checkpoint are removed.

    With `write` off (another process writes) it does nothing.
    """

    def __init__(self, path: Path, keep_steps: int = 0, *, write: bool = True):
        self.path = path
        self.write = write
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.kept_rows = [row for row in self._written() if row.get("step", 0) <= keep_steps]
            write_jsonl(path, self.kept_rows)

    def _written(self) -> Iterator[dict[str, Any]]:
        """Yield the rows on disk, except a last line that a crash cut short."""
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
    """`metrics.jsonl`: one object per step, with the seconds since the stage began."""

    def __init__(self, path: Path, keep_steps: int = 0, *, write: bool = True):
        self.rows = StepLog(path, keep_steps, write=write)
        kept_rows = self.rows.kept_rows if write else []
        self.started = time.monotonic() - (kept_rows[-1].get("time", 0.0) if kept_rows else 0.0)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step."""
        self.rows.record([{"step": step, "time": round(time.monotonic() - self.started, 3), **metrics}])
