"""The first Ctrl-C lets the step finish, the second does not."""

from __future__ import annotations

import io
import os
import signal
import threading

import pytest
from rich.console import Console

from gnomon.core import progress as module
from gnomon.core.errors import ConfigError, DataError, GnomonError, Interrupted, ModelError, RunError
from gnomon.core.progress import StopSignal, progress, watched


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_and_the_second_an_order(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignal(waits=True).listening() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_stops_at_once_where_no_steps_are_saved(number: signal.Signals) -> None:
    with StopSignal().listening(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_in_another_thread_signals_are_left_alone() -> None:
    before, result = signal.getsignal(signal.SIGINT), []

    def inside() -> None:
        with StopSignal().listening() as stop:
            result.append(bool(stop))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert result == [False]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_bar_can_be_moved(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("label", 3) as bar:
        bar.at(2, "note")
        bar.at(3)
    assert capsys.readouterr().out == ""  # progress is for people, on the error stream


def test_a_log_has_a_line_now_and_then_and_short_work_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty parts of four seconds each: lines every 16 seconds, with what is left at that pace."""
    clock = [0.0]
    monkeypatch.setattr("gnomon.core.progress.time.monotonic", lambda: clock[0])

    def work(parts: int, seconds: float) -> list[str]:
        for _ in watched(range(parts), "scored"):
            clock[0] += seconds
        return [line.strip() for line in capsys.readouterr().err.splitlines()]

    assert work(20, 4.0) == [
        "scored 4/20  16 s, 64 s left",
        "scored 8/20  32 s, 48 s left",
        "scored 12/20  48 s, 32 s left",
        "scored 16/20  64 s, 16 s left",
        "scored 20/20  80 s",
    ]
    assert work(20, 0.1) == []


def test_work_that_was_done_before_does_not_shorten_the_estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 of 100 are there at the start, and 10 more after 20 seconds: 30 are left, 60 seconds."""
    clock = [0.0]
    monkeypatch.setattr("gnomon.core.progress.time.monotonic", lambda: clock[0])
    with progress("preferences", 100, start=60) as bar:
        clock[0] = 20.0
        bar.at(70)
        clock[0] = 40.0
        bar.at(60)
    assert [line.strip() for line in capsys.readouterr().err.splitlines()] == [
        "preferences 70/100  20 s, 60 s left",
        "preferences 60/100  40 s",
    ]


def test_a_late_bar_appears_when_the_work_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, out = [0.0], io.StringIO()
    monkeypatch.setattr("gnomon.core.progress.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(module, "console", Console(file=out, force_terminal=True, width=80))
    with progress("scored", 9, after=3.0) as bar:
        bar.at(1)
        assert out.getvalue() == ""
        clock[0] = 4.0
        bar.at(2)
    assert "scored" in out.getvalue()
    assert "2/9" in out.getvalue()


@pytest.mark.parametrize("kind", [ConfigError, DataError, ModelError, RunError, Interrupted])
def test_errors_that_users_can_fix_are_one_family(kind: type[Exception]) -> None:
    assert issubclass(kind, GnomonError)
