"""The first Ctrl-C lets the step finish, the second does not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from gnomon.core.errors import ConfigError, DataError, GnomonError, Interrupted, ModelError, RunError
from gnomon.core.progress import StopSignal, progress


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
def test_where_nobody_waits_the_first_signal_is_an_order(number: signal.Signals) -> None:
    with StopSignal().listening(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_in_another_thread_signals_are_left_alone() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def inside() -> None:
        with StopSignal().listening() as stop:
            found.append(bool(stop))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_bar_can_be_moved(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("label", 3) as bar:
        bar.at(2, "note")
        bar.at(3)
    assert capsys.readouterr().out == ""  # progress is for people, on the error stream


@pytest.mark.parametrize("kind", [ConfigError, DataError, ModelError, RunError, Interrupted])
def test_what_users_can_mend_is_one_family(kind: type[Exception]) -> None:
    assert issubclass(kind, GnomonError)
