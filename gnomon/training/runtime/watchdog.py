"""Watchdog for multi-process runs: reports the rank that failed instead of hanging in a collective.

Each process writes heartbeats to a small store beside the collectives, with the collective it is in; a thread in
each process reads those of the others.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # public, yet not exported by name

from gnomon.core.errors import GnomonError, Interrupted, RunError

BEAT = 0.5  # seconds between heartbeats
SILENCE = 30.0  # seconds without a heartbeat, or in different collectives, after which a run ends
FAREWELL = 5.0  # seconds for the others to read why this process failed
STORE_TIMEOUT = 5.0  # seconds
GONE = "process 0 is gone; its error message, if any, is above or in its log."


@dataclass
class PeerState:
    """The last heartbeat of another process.

    Attributes:
        heartbeat: its text.
        collective: the collective that the process is in, or "".
        beat_at: when the heartbeat last changed, in seconds.
        collective_at: when `collective` last changed.
    """

    heartbeat: str = ""
    collective: str = ""
    beat_at: float = 0.0
    collective_at: float = 0.0


class PeerWatchdog:
    """Watches the other processes of a run.

    Args:
        rank: number of this process, from 0.
        count: number of processes.
        store: shared by all processes, hosted by the first.
        silence: seconds without a heartbeat after which a process counts as gone.
    """

    def __init__(self, rank: int, count: int, store: Store, silence: float = SILENCE):
        self.rank, self.store, self.silence = rank, store, silence
        now = time.monotonic()
        self._seen = {other: PeerState(beat_at=now, collective_at=now) for other in range(count) if other != rank}
        self._current, self._collectives, self._beats = "", 0, 0
        self._alone = False  # the store is gone
        self._stopped, self._lock = threading.Event(), threading.Lock()

    @contextmanager
    def collective(self, name: str) -> Iterator[None]:
        """Context manager: this process is in a collective."""
        self._collectives += 1
        self._current = f"{name} {self._collectives}"
        yield
        self._current = ""  # stays set if the collective fails, which `watching` checks

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Context manager: the failure of another process ends this one within a minute, with an error naming it.

        Raises:
            RunError: a collective failed because another process did.
        """
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            self._end(thread)
            # A collective's own error does not name the process that failed.
            if self._current and (fault := self._wait_for_fault()):
                raise RunError(fault) from error
            message = str(error) if isinstance(error, GnomonError) else f"{type(error).__name__}: {error}"
            self._publish(f"failed/{self.rank}", message)
            raise
        finally:
            self._end(thread)
            self._leave()

    def _end(self, thread: threading.Thread) -> None:
        self._stopped.set()
        thread.join()

    def _watch(self) -> None:
        """Send heartbeats, check the others', and end the process at a fault.

        The main thread may be inside a collective, where no exception reaches it.
        """
        while not self._stopped.wait(BEAT):
            if (fault := self.fault()) and not self._stopped.is_set():
                print(f"error: {fault}", file=sys.stderr, flush=True)
                os._exit(RunError.exit_code)

    def fault(self) -> str | None:
        """A sentence about a process that failed, or `None`."""
        with self._lock:
            try:
                self._beats += 1
                self.store.set(f"heartbeat/{self.rank}", json.dumps([self._beats, self._current]))
                faults = (self._fault_of(other, seen) for other, seen in self._seen.items())
                return next((fault for fault in faults if fault), None)
            except RuntimeError:  # from the store, which the first process hosts
                self._alone = True
                return GONE

    def _fault_of(self, other: int, seen: PeerState) -> str | None:
        if self.store.check([f"failed/{other}"]):
            return f"process {other} stopped: {self.store.get(f'failed/{other}').decode()}"
        now = time.monotonic()
        if self.store.check([f"heartbeat/{other}"]):
            heartbeat = self.store.get(f"heartbeat/{other}").decode()
            if heartbeat != seen.heartbeat:
                collective = str(json.loads(heartbeat)[1])
                seen.collective_at = now if collective != seen.collective else seen.collective_at
                seen.heartbeat, seen.collective, seen.beat_at = heartbeat, collective, now
        if self.store.check([f"left/{other}"]):
            seen.collective, seen.beat_at = "the end", now
        if now - seen.beat_at > self.silence:
            return f"process {other} has sent no heartbeat for {self.silence:.0f} s; see its log."
        apart = self._current and seen.collective and self._current != seen.collective
        if apart and now - seen.collective_at > self.silence:
            return (
                f"process {self.rank} waits at '{self._current}' and process {other} at '{seen.collective}', "
                "so neither can continue; this is a bug, please report it with the recipe."
            )
        return None

    def _wait_for_fault(self) -> str | None:
        """The fault of another process, waiting as long as it may take to show."""
        until = time.monotonic() + self.silence + 2 * BEAT
        while not (fault := self.fault()) and time.monotonic() < until:
            time.sleep(BEAT / 4)
        return fault

    def _leave(self) -> None:
        """Leave after the others could read the message: the store ends with the first process."""
        self._publish(f"left/{self.rank}", "")
        # The others need the store until they have left too.
        until = time.monotonic() + FAREWELL
        while self.rank == 0 and time.monotonic() < until:
            if self.store.check([f"left/{other}" for other in self._seen]):
                return
            time.sleep(BEAT / 4)

    def _publish(self, key: str, value: str) -> None:
        if self._alone:
            return
        try:
            self.store.set(key, value)
        except RuntimeError:  # no process is left to read it
            self._alone = True


def shared_store(host: str, port: int, *, hosts: bool) -> TCPStore:
    """A store that all processes share.

    Args:
        host: address of the first process.
        port: port of the store; 0 takes a free one.
        hosts: whether this process hosts it.

    Raises:
        RunError: it cannot be reached.
    """
    try:
        store = TCPStore(host, port, is_master=hosts, wait_for_workers=False, timeout=timedelta(seconds=SILENCE))
    except RuntimeError as error:
        raise RunError(GONE) from error
    store.set_timeout(timedelta(seconds=STORE_TIMEOUT))
    return store
