"""Ctrl-C and SIGTERM from the first import on: one sentence and one exit status, whenever they come."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130  # exit status of a command that the user stopped


def interrupt(*_: object) -> None:
    """Handle a signal as Ctrl-C is handled."""
    raise KeyboardInterrupt


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Inside, SIGTERM is a Ctrl-C, and either ends the program with a sentence, not a traceback."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):  # the end is near: no other one may break into it
            signal.signal(number, signal.SIG_IGN)
        print("stopped; run the same command again.", file=sys.stderr, flush=True)
        sys.exit(STOPPED)
