"""No process waits for one that failed, died, froze or went another way; it says who that was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pairs import free_port
from torch.distributed import HashStore, TCPStore  # type: ignore[attr-defined]  # public, yet not exported by name

from gnomon.core.errors import Interrupted, RunError
from gnomon.training.runtime import watchdog
from gnomon.training.runtime.watchdog import FAREWELL, GONE, PeerWatchdog, shared_store

HERE = Path(__file__).parent
KILLED, FROZEN = -signal.SIGKILL, None  # exit codes of the one that meets trouble

GOING_ON = "so neither can continue; this is a bug, please report it with the recipe."


class Clock:
    """Time that passes by `sleep` alone; `beat` gives the signs that a thread of each process gives otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 100.0
        self.meanwhile: Callable[[], object] = lambda: None
        monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))
        monkeypatch.setattr(watchdog, "BEAT", 60.0)  # of the real thread, so that it never comes between

    def sleep(self, seconds: float) -> None:
        self.now += min(seconds, 1.0)
        self.meanwhile()

    def beat(self, seconds: int, *living: PeerWatchdog) -> list[str | None]:
        """What the first of some processes finds after each of so many seconds."""
        seen = []
        for _ in range(seconds):
            self.sleep(1.0)
            seen.append([one.fault() for one in reversed(living)][-1])
        return seen


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def pair(store: HashStore, count: int = 2) -> list[PeerWatchdog]:
    return [PeerWatchdog(rank, count, store, silence=10.0) for rank in range(count)]


def test_silence_counts_from_the_last_sign_that_was_new(clock: Clock) -> None:
    """Signs until second 20: silent at 30, gone beyond; one that never gave a sign as from its start."""
    one, other = pair(HashStore())
    assert clock.beat(20, one, other) == [None] * 20
    gone = "process 1 has sent no heartbeat for 10 s; see its log."
    assert clock.beat(12, one) == [None] * 10 + [gone] * 2
    silent = "process 0 has sent no heartbeat for 10 s; see its log."
    assert PeerWatchdog(0, 2, HashStore(), silence=10.0).fault() is None
    assert clock.beat(11, PeerWatchdog(1, 2, HashStore(), silence=10.0)) == [None] * 10 + [silent]


def test_the_one_that_failed_is_named_wherever_it_stands(clock: Clock) -> None:
    store = HashStore()
    one, second, third = pair(store, 3)
    assert clock.beat(1, one, second, third) == [None]
    store.set("failed/2", "out of memory")
    assert clock.beat(1, one, second) == ["process 2 stopped: out of memory"]


def test_processes_at_other_meetings_are_apart_once_it_has_lasted(clock: Clock) -> None:
    """One is at its first meeting, the other has left that and waits at its second: ten seconds are no fault."""
    one, other = pair(HashStore())
    with other.collective("broadcast"):
        pass
    with one.collective("broadcast"), other.collective("broadcast"):
        apart = f"process 0 waits at 'broadcast 1' and process 1 at 'broadcast 2', {GOING_ON}"
        assert clock.beat(13, one, other) == [None] * 11 + [apart] * 2


def test_work_between_meetings_is_no_fault_however_long(clock: Clock) -> None:
    one, other = pair(HashStore())
    with one.collective("unshard"):  # the other works
        assert clock.beat(30, one, other) == [None] * 30
    with other.collective("unshard"):  # and the first works
        assert clock.beat(30, one, other) == [None] * 30
        with one.collective("unshard"):
            pass
        assert clock.beat(30, one, other) == [None] * 30, "a meeting that is over is no place"


def test_changing_places_is_going_on(clock: Clock) -> None:
    """The other passes through a meeting every six seconds, never at the first one's number."""
    one, other = pair(HashStore())
    with other.collective("barrier"):
        pass
    with one.collective("barrier"):
        for _ in range(5):
            with other.collective("barrier"):
                assert clock.beat(6, one, other) == [None] * 6


def test_one_that_left_in_peace_is_missed_only_at_a_meeting(clock: Clock) -> None:
    store = HashStore()
    one, other = pair(store)
    with other.watching():
        pass
    assert clock.beat(30, one) == [None] * 30
    with one.collective("broadcast"):
        assert clock.beat(1, one) == [f"process 0 waits at 'broadcast 1' and process 1 at 'the end', {GOING_ON}"]


def failing(process: PeerWatchdog, error: BaseException, meeting: str = "") -> None:
    """Meet an error while watched: at work, or at a meeting."""
    with process.watching():
        if not meeting:
            raise error
        with process.collective(meeting):
            raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RunError("the reward 'brief' failed."), "the reward 'brief' failed."),
        (ValueError("a fault"), "ValueError: a fault"),
        (Interrupted("stopped after step 3."), None),
    ],
    ids=["sentence", "fault", "stop"],
)
def test_an_own_error_stays_and_is_told_to_the_others_at_once(
    clock: Clock, error: Exception, message: str | None
) -> None:
    """But a stop that the user wishes is no failure. Nobody waits for what the others may have met."""
    store = HashStore()
    one, other = pair(store)
    with pytest.raises(type(error)) as raised:
        failing(other, error)
    assert raised.value is error
    assert clock.now == 100.0
    assert one.fault() == (message and f"process 1 stopped: {message}")


@pytest.mark.parametrize(
    ("failed", "seconds", "message"),
    [
        ("out of memory", 0, "process 0 stopped: out of memory"),
        ("", 10, "process 0 has sent no heartbeat for 10 s; see its log."),
    ],
    ids=["it said so", "it is silent"],
)
def test_a_meeting_that_breaks_off_is_laid_to_the_one_that_broke_it(
    clock: Clock, failed: str, seconds: int, message: str
) -> None:
    store = HashStore()
    other = PeerWatchdog(1, 2, store, silence=10.0)
    if failed:
        store.set("failed/0", failed)
    with pytest.raises(RunError) as raised:
        failing(other, RuntimeError("connection closed by peer"), "gather")
    assert str(raised.value) == message
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert seconds <= clock.now - 100.0 <= seconds + watchdog.BEAT
    assert not store.check(["failed/1"]), "the other's fault is not said to be this one's"


def test_a_meeting_that_breaks_off_by_nobodys_fault_keeps_its_error(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other gives signs throughout: after the time that silence needs, the error is this process's own."""
    one, other = pair(store := HashStore())
    monkeypatch.setattr(clock, "meanwhile", other.fault)
    with pytest.raises(RuntimeError, match="no such buffer"):
        failing(one, RuntimeError("no such buffer"), "gather")
    assert store.get("failed/0") == b"RuntimeError: no such buffer"


def test_the_keeper_of_the_store_leaves_last(clock: Clock) -> None:
    """It waits for the others to have read, a few seconds at most; nobody waits for it."""
    one, other = pair(store := HashStore())
    with other.watching():
        pass
    assert clock.now == 100.0
    assert store.check(["left/1"])
    with one.watching():
        pass
    assert clock.now == 100.0
    lone, _ = pair(HashStore())
    with lone.watching():
        pass
    assert clock.now >= 100.0 + FAREWELL


def test_a_store_that_is_gone_went_with_the_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    owner: TCPStore | None = shared_store("localhost", 0, hosts=True)
    assert owner is not None
    other = PeerWatchdog(1, 2, shared_store("localhost", owner.port, hosts=False))
    assert other.fault() is None
    del owner
    assert other.fault() == GONE
    monkeypatch.setattr(watchdog, "SILENCE", 0.2)
    with pytest.raises(RunError, match="process 0 is gone"):
        shared_store("localhost", 1, hosts=False)


# Real processes.


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that a test started, which end with it whatever happens."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(trouble: str) -> list[subprocess.Popen[str]]:
    """Two processes without a launcher, which would end the other one itself."""
    port = str(free_port())
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    shared |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo"}
    return [
        subprocess.Popen(
            [sys.executable, str(HERE / "in_trouble.py"), trouble],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "witness", "codes", "message"),
    [
        ("fails", 0, (2, 2), "process 1 stopped: the reward 'brief' failed on every completion."),
        ("the_first_fails", 1, (1, 2), "process 0 stopped: ValueError: a fault of the program"),
        ("is_killed", 0, (2, KILLED), "process 1 has sent no heartbeat for 3 s"),
        ("the_first_is_killed", 1, (KILLED, 2), "process 0 is gone"),
        ("is_stopped", 0, (2, FROZEN), "process 1 has sent no heartbeat for 3 s"),
        ("go_apart", 0, (2, 2), "waits at 'broadcast 1' and process 1 at 'barrier 1', so neither can continue"),
        ("ends", 0, (2, 0), "process 1 at 'the end'"),
    ],
)
def test_trouble_ends_all_with_a_name(
    started: list[subprocess.Popen[str]],
    trouble: str,
    witness: int,
    codes: tuple[int | None, ...],
    message: str,
) -> None:
    begun = time.monotonic()
    started += (both := start(trouble))
    _, err = both[witness].communicate(timeout=60)
    if FROZEN in codes:
        both[codes.index(FROZEN)].kill()
    others = [p.communicate(timeout=60)[1] for p in both if p is not both[witness]]
    assert time.monotonic() - begun < 60
    exit_codes = tuple(p.returncode for p in both)
    assert all(code in (FROZEN, got) for code, got in zip(codes, exit_codes, strict=True)), (
        f"{exit_codes}\n{err}\n{others}"
    )
    assert message in err
    assert "Traceback" not in err


@pytest.mark.long
@pytest.mark.slow
def test_long_work_of_one_is_no_trouble(started: list[subprocess.Popen[str]]) -> None:
    started += (both := start("is_slow"))
    outputs = [p.communicate(timeout=60) for p in both]
    assert [p.returncode for p in both] == [0, 0], outputs
    assert [out for out, _ in outputs] == ["process 0 is done\n", "process 1 is done\n"]
