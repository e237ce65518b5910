"""Why a reward failed: each reason with its count, in `reward_failures.jsonl` and once on the console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from gnomon.core.progress import console
from gnomon.core.storage.files import read_jsonl
from gnomon.core.storage.metrics_log import StepLog

FILE = "reward_failures.jsonl"
KEPT, SHOWN = 20, 5  # reasons: kept of each round, shown on the console of each start
OTHERS = "other reasons"


class FailureLog:
    """Rows `{"step", "reason", "count"}`, the most frequent reasons of each round first.

    Args:
        folder: of the stage.
        keep_steps: rounds of an earlier start that are kept.
        write: whether this process writes.
    """

    def __init__(self, folder: Path, keep_steps: int, *, write: bool):
        self.path, self.write = folder / FILE, write
        self.log = StepLog(self.path, keep_steps=keep_steps, write=write)
        self.shown: set[str] = set()

    def record(self, step: int, reasons: Mapping[str, int]) -> None:
        """Write a round's reasons, and show those that this start has not shown yet."""
        if not (self.write and reasons):
            return
        ranked = Counter(reasons).most_common()
        rows = [{"step": step, "reason": reason, "count": count} for reason, count in ranked[:KEPT]]
        if rest := sum(count for _, count in ranked[KEPT:]):
            rows.append({"step": step, "reason": OTHERS, "count": rest})
        self.log.record(rows)
        for reason, count in ranked:
            if reason not in self.shown and len(self.shown) < SHOWN:
                self.shown.add(reason)
                times = "completion" if count == 1 else "completions"
                console.print(
                    f"  [yellow]the reward failed[/yellow] on {count} {times} of round {step}: {escape(reason)} "
                    f"(this reason is shown once; all are in {escape(str(self.path))})",
                    highlight=False,
                    soft_wrap=True,
                )


def failures_in(folder: Path) -> list[dict[str, Any]]:
    """A stage's reasons with their counts over all rounds, the most frequent first."""
    path = folder / FILE
    return summed(read_jsonl(path)) if path.exists() else []


def summed(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Counts by reason, the most frequent first."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[str(row["reason"])] += int(row["count"])
    return [{"reason": reason, "count": count} for reason, count in counts.most_common(KEPT)]
