"""A call into a user's code within a time limit: in the main thread and in another one."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from typing import Any

import pytest

from gnomon.rewards.time_limit import call_within


def elsewhere(seconds: float, call: Any) -> Any:
    """The same in a thread that gets no signals."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(call_within(seconds, call))
        except BaseException as error:  # noqa: BLE001 - raised again below
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def endless() -> None:
    while True:
        pass


def swallowing() -> None:
    """Code that catches everything, as `except Exception` in a loop does, and one that catches more."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with contextlib.suppress(Exception):
            time.sleep(0.02)


@pytest.mark.parametrize("within", [call_within, elsewhere], ids=["main", "thread"])
def test_a_result_or_an_error_comes_back(within: Any) -> None:
    assert within(5.0, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 / 0)
    with pytest.raises(TimeoutError, match=r"it took longer than 0\.1 s"):
        within(0.1, lambda: time.sleep(5))


@pytest.mark.parametrize("call", [endless, swallowing, lambda: re.match(r"(a+)+$", "a" * 40 + "b")])
def test_whatever_it_does_it_ends_in_time(call: Any) -> None:
    """A loop, code that catches every `Exception`, and a regular expression that never ends."""
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        call_within(0.1, call)
    assert time.monotonic() - started < 5


def test_an_alarm_that_somebody_else_has_set_still_comes() -> None:
    rung = list[int]()
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    left = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(TimeoutError):
            call_within(0.05, lambda: time.sleep(5))
        assert not rung
        time.sleep(0.4)
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before)
