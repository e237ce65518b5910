"""A time limit on a call into a user's code.

In the main thread the limit is a signal of the system's clock: it interrupts Python code, waiting, and the engine
of regular expressions, and the user's code runs where its own use of signals works. Elsewhere (another thread, or
a system without such a clock) the call runs in a thread that is left behind when its time is up.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
REPEAT_SECONDS = 1.0  # the signal is repeated after so many seconds, in case the code caught the first


class _TimeIsUp(BaseException):
    """Not an `Exception`, so that code that catches exceptions does not catch it."""


def call_within(seconds: float, call: Callable[[], T]) -> T:
    """Run a call with a time limit, and return its result.

    A call that sets its own alarm (`signal.alarm`) replaces this limit. Code that neither returns to Python nor
    waits for the system is stopped only once it does.

    Args:
        seconds: limit in seconds.
        call: function without arguments.

    Raises:
        TimeoutError: it took longer.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _with_alarm(seconds, call)
    return _in_thread(seconds, call)


def _with_alarm(seconds: float, call: Callable[[], T]) -> T:
    armed = True

    def ring(*_: object) -> None:
        if armed:
            raise _TimeIsUp

    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
    try:
        result = call()
        armed = False
        return result
    except _TimeIsUp:
        raise TimeoutError(f"it took longer than {seconds:g} s") from None
    finally:
        armed = False
        elapsed = time.monotonic() - started
        signal.setitimer(signal.ITIMER_REAL, max(left - elapsed, 0.001) if left else 0.0, interval)
        signal.signal(signal.SIGALRM, before)


def _in_thread(seconds: float, call: Callable[[], T]) -> T:
    results: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True, name="reward")
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not results:
        raise TimeoutError(f"it took longer than {seconds:g} s")
    return results[0]
