"""Progress bars with an estimate of the time left, and a Ctrl-C that lets the current step finish."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gnomon.core.stopping import Stop

console = Console(stderr=True)
LINE_SECONDS = 15.0  # between two lines of a log
SHORT_SECONDS = 3.0  # work that is done by then shows no progress where it would seldom be looked for

T = TypeVar("T")


class ProgressBar:
    """One bar, shown after `after` seconds, with `note` behind it; it begins with `start` done before."""

    def __init__(self, bars: Progress, label: str, total: int, after: float, start: int = 0):
        self._bars, self._task = bars, bars.add_task(label, total=total, completed=start, note="")
        self._from = time.monotonic() + after
        self._appear()

    def at(self, done: int, note: str = "") -> None:
        """Set the amount of work done and the note."""
        self._bars.update(self._task, completed=done, note=note)
        self._appear()

    def _appear(self) -> None:
        if time.monotonic() >= self._from:
            self._bars.start()


class ProgressLines:
    """Progress as plain lines, for a log: one every `LINE_SECONDS`, and one at the end.

    Work that takes less than `after` seconds has no line. `start` was done before.
    """

    def __init__(self, label: str, total: int, after: float = 0.0, start: int = 0):
        self._label, self._total, self._after, self._start = label, total, after, start
        self._started = self._last_line = time.monotonic()

    def at(self, done: int, note: str = "") -> None:
        """Print the amount of work done, if the last line is old enough."""
        now = time.monotonic()
        if now - self._started < self._after or (done < self._total and now - self._last_line < LINE_SECONDS):
            return
        self._last_line, spent = now, now - self._started
        gained = done - self._start
        left = f", {spent / gained * (self._total - done):.0f} s left" if gained > 0 else ""
        times = f"{spent:.0f} s{left}" if done < self._total else f"{spent:.0f} s"
        console.print(f"  {self._label} {done}/{self._total}  {times}  {note}".rstrip(), highlight=False)


class NoProgress:
    """No output: another process shows the progress."""

    def at(self, done: int, note: str = "") -> None:
        """Print nothing."""


@contextmanager
def progress(
    label: str, total: int, *, quiet: bool = False, after: float = 0.0, start: int = 0
) -> Iterator[ProgressBar | ProgressLines | NoProgress]:
    """Context manager: a bar on the terminal; where output is not a terminal, a line every 15 seconds.

    Args:
        label: name of the work.
        total: amount of work.
        quiet: show nothing.
        after: show nothing in the first seconds.
        start: amount of work that was done before.
    """
    if quiet or not console.is_terminal:
        yield NoProgress() if quiet else ProgressLines(label, total, after, start)
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    bars = Progress(*columns, console=console)
    try:
        yield ProgressBar(bars, label, total, after, start)
    finally:
        if bars.live.is_started:
            bars.stop()


def watched(parts: Sequence[T], label: str) -> Iterator[T]:
    """Iterate over `parts` with a progress bar, which appears after a few seconds.

    Of several processes, as `torchrun` starts them, only the first shows it.
    """
    with progress(label, len(parts), quiet=os.environ.get("RANK", "0") != "0", after=SHORT_SECONDS) as bar:
        for done, part in enumerate(parts, start=1):
            yield part
            bar.at(done)


def format_duration(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class StopSignal:
    """True after the first Ctrl-C or SIGTERM where steps are saved; otherwise the first one stops at once.

    Attributes:
        requested: whether the user requested a stop.
        waits: whether the first signal waits until the caller reads it, as training does after each step. Where
            nothing can be saved, waiting would only lose time.
        checks: called after each step; they raise if the work cannot go on, for example if its folder is gone.
    """

    def __init__(self, *, waits: bool = False) -> None:
        self.requested = False
        self.waits = waits
        self.checks: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return self.requested

    def check(self) -> None:
        """Call `checks`; any of them may raise."""
        for one in self.checks:
            one()

    def _handle(self, *_: object) -> None:
        if self.requested or not self.waits:
            raise Stop
        self.requested = True
        console.print("  stopping after this step; press Ctrl-C again to stop at once")

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Context manager: handle both signals; in a thread that cannot receive signals nothing is changed."""
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
