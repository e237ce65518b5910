"""Calls of a user's code within a time limit, in the main thread and in another one."""

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
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(call_within(seconds, call))
        except BaseException as error:  # noqa: BLE001 - raised again below
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def endless() -> None:
    while True:
        pass


def swallowing() -> None:
    """Code that catches every exception, like `except Exception` in a loop, and code that catches more."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with contextlib.suppress(Exception):
            time.sleep(0.02)


@pytest.mark.parametrize("within", [call_within, elsewhere], ids=["main", "thread"])
def test_a_result_or_an_error_is_passed_on(within: Any) -> None:
    assert within(5.0, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 / 0)
    with pytest.raises(TimeoutError, match=r"it took longer than 0\.1 s"):
        within(0.1, lambda: time.sleep(5))


@pytest.mark.parametrize("call", [endless, swallowing, lambda: re.match(r"(a+)+$", "a" * 40 + "b")])
def test_every_kind_of_call_ends_in_time(call: Any) -> None:
    """A loop, code that catches every `Exception`, and a regular expression that never ends."""
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        call_within(0.1, call)
    assert time.monotonic() - started < 5


def test_an_alarm_set_before_still_rings() -> None:
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
