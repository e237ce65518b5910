"""Progress bars with an estimate, and a Ctrl-C that lets the current step finish."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True)


class Bar:
    """One bar; `note` is shown behind it."""

    def __init__(self, progress: Progress, task: TaskID):
        self._progress = progress
        self._task = task

    def at(self, done: int, note: str = "") -> None:
        """Set how much is done."""
        self._progress.update(self._task, completed=done, note=note)


@contextmanager
def progress(label: str, total: int) -> Iterator[Bar]:
    """A bar on the terminal; where output is not a terminal, one line at the end."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield Bar(bars, bars.add_task(label, total=total, note=""))


class StopSignal:
    """Becomes true at the first Ctrl-C or SIGTERM; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked

    def _handle(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        console.print("  stopping after this step; press Ctrl-C again to stop at once")

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Listen while inside; in a thread that cannot take signals nothing is changed."""
        try:
            before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:
            yield self
            return
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
