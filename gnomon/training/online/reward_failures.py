"""Log of reward failures: reasons with counts in `reward_failures.jsonl`, each once on the console."""

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
MAX_LOGGED, MAX_SHOWN = 20, 5  # reasons: logged per round, shown on the console per start
OTHERS = "other reasons"


class FailureLog:
    """Rows `{"step", "reason", "count"}`, the most frequent reasons of each round first.

    Args:
        folder: of the stage.
        keep_steps: rounds of earlier starts to keep.
        write: whether this process writes.
    """

    def __init__(self, folder: Path, keep_steps: int, *, write: bool):
        self.path, self.write = folder / FILE, write
        self.log = StepLog(self.path, keep_steps=keep_steps, write=write)
        self.shown: set[str] = set()

    def record(self, step: int, reasons: Mapping[str, int]) -> None:
        """Log a round's reasons, and print those not printed since the start."""
        if not (self.write and reasons):
            return
        ranked = Counter(reasons).most_common()
        rows = [{"step": step, "reason": reason, "count": count} for reason, count in ranked[:MAX_LOGGED]]
        if rest := sum(count for _, count in ranked[MAX_LOGGED:]):
            rows.append({"step": step, "reason": OTHERS, "count": rest})
        self.log.record(rows)
        for reason, count in ranked:
            if reason not in self.shown and len(self.shown) < MAX_SHOWN:
                self.shown.add(reason)
                times = "completion" if count == 1 else "completions"
                console.print(
                    f"  [yellow]the reward failed[/yellow] on {count} {times} of round {step}: {escape(reason)} "
                    f"(this reason is shown once; all are in {escape(str(self.path))})",
                    highlight=False,
                    soft_wrap=True,
                )


def failures_in(folder: Path) -> list[dict[str, Any]]:
    """A stage's failure reasons with counts over all rounds, most frequent first."""
    path = folder / FILE
    return counts_by_reason(read_jsonl(path)) if path.exists() else []


def counts_by_reason(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Counts by reason, most frequent first."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[str(row["reason"])] += int(row["count"])
    return [{"reason": reason, "count": count} for reason, count in counts.most_common(MAX_LOGGED)]
