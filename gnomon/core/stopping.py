"""Ctrl-C and SIGTERM from the first import on: one sentence and one exit status at any time."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130  # exit status of a command that the user stopped


class Stop(KeyboardInterrupt):
    """A stop that the user requested.

    After a plain `KeyboardInterrupt` in code that `exec` runs from a text, as the standard library does for data
    classes, Python ends the process by SIGINT even if the exception was caught. A subclass avoids that.
    """


_stopped = False


def interrupt(*_: object) -> None:
    """Handle a signal: stop at once."""
    global _stopped
    _stopped = True
    raise Stop


def was_stopped() -> bool:
    """Return whether a signal stopped this process; a library may have raised another exception instead."""
    return _stopped


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Context manager: SIGTERM acts as Ctrl-C, and either ends the program with a sentence, not a traceback."""
    for number, usual in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is usual:
            signal.signal(number, interrupt)
    try:
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):  # a further signal must not interrupt the exit
                signal.signal(number, signal.SIG_IGN)
    except KeyboardInterrupt:
        print("stopped; run the same command again.", file=sys.stderr, flush=True)
        sys.exit(STOPPED)
