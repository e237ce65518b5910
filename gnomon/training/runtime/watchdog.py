"""Processes that watch each other, so that one that failed is said by name instead of waited for.

A collective that a process never comes to would let the others wait for hours. Each process gives signs of life
over a small store beside the collectives, with the meeting that it waits in; a thread in each looks at them.
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

BEAT = 0.5  # seconds between two signs of life
SILENCE = 30.0  # seconds without a sign, or at different meetings, after which nobody waits any longer
FAREWELL = 5.0  # seconds for the others to read why this one failed
ANSWER = 5.0  # seconds in which the store answers if it is there
GONE = "process 0 is gone; its own message, if it left one, is above or in its log."


@dataclass
class PeerState:
    """The last sign of a fellow, and since when it has been the same."""

    sign: str = ""
    place: str = ""
    beat_at: float = 0.0
    place_at: float = 0.0


class PeerWatchdog:
    """This process's view of the others.

    Args:
        rank: number of this process, from 0.
        count: how many there are.
        store: which all of them reach; the first process keeps it.
        silence: seconds after which a silent process counts as gone.
    """

    def __init__(self, rank: int, count: int, store: Store, silence: float = SILENCE):
        self.rank, self.store, self.silence = rank, store, silence
        now = time.monotonic()
        self._seen = {other: PeerState(beat_at=now, place_at=now) for other in range(count) if other != rank}
        self._place, self._meetings, self._beats = "", 0, 0
        self._alone = False  # the store has gone, and with it every way to hear of the others
        self._over, self._looking = threading.Event(), threading.Lock()

    @contextmanager
    def collective(self, name: str) -> Iterator[None]:
        """Inside, this process waits for the others at a collective."""
        self._meetings += 1
        self._place = f"{name} {self._meetings}"
        yield
        self._place = ""  # kept where the meeting broke off: why it did is then asked

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, a fellow's failure ends this process within a minute, with one sentence that names it.

        Raises:
            RunError: a collective broke off because a fellow failed.
        """
        thread = threading.Thread(target=self._watch, name="fellows", daemon=True)
        thread.start()
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            self._end(thread)
            # What a collective says when the other end is gone names nobody.
            if self._place and (fault := self._wait_for_fault()):
                raise RunError(fault) from error
            said = str(error) if isinstance(error, GnomonError) else f"{type(error).__name__}: {error}"
            self._tell(f"failed/{self.rank}", said)
            raise
        finally:
            self._end(thread)
            self._leave()

    def _end(self, thread: threading.Thread) -> None:
        self._over.set()
        thread.join()

    def _watch(self) -> None:
        """Until it is over: give a sign, look at the others' signs, and end the process at a fault.

        The main thread may be inside a collective, where no exception reaches it.
        """
        while not self._over.wait(BEAT):
            if (fault := self.fault()) and not self._over.is_set():
                print(f"error: {fault}", file=sys.stderr, flush=True)
                os._exit(RunError.exit_code)

    def fault(self) -> str | None:
        """What is wrong with a fellow, as a sentence, if anything is."""
        with self._looking:
            try:
                self._beats += 1
                self.store.set(f"sign/{self.rank}", json.dumps([self._beats, self._place]))
                found = (self._fault_of(other, seen) for other, seen in self._seen.items())
                return next((fault for fault in found if fault), None)
            except RuntimeError:  # the store's, which lives in the first process
                self._alone = True
                return GONE

    def _fault_of(self, other: int, seen: PeerState) -> str | None:
        if self.store.check([f"failed/{other}"]):
            return f"process {other} stopped: {self.store.get(f'failed/{other}').decode()}"
        now = time.monotonic()
        if self.store.check([f"sign/{other}"]):
            sign = self.store.get(f"sign/{other}").decode()
            if sign != seen.sign:
                place = str(json.loads(sign)[1])
                seen.place_at = now if place != seen.place else seen.place_at
                seen.sign, seen.place, seen.beat_at = sign, place, now
        if self.store.check([f"left/{other}"]):
            seen.place, seen.beat_at = "the end", now
        if now - seen.beat_at > self.silence:
            return f"process {other} has given no sign of life for {self.silence:.0f} s; its log may say why."
        apart = self._place and seen.place and self._place != seen.place
        if apart and now - seen.place_at > self.silence:
            return (
                f"process {self.rank} waits at '{self._place}' and process {other} at '{seen.place}', "
                "so neither would go on; this is a fault of the program, please report it with the recipe."
            )
        return None

    def _wait_for_fault(self) -> str | None:
        """A fellow's fault, given the time that it needs to show."""
        until = time.monotonic() + self.silence + 2 * BEAT
        while not (fault := self.fault()) and time.monotonic() < until:
            time.sleep(BEAT / 4)
        return fault

    def _leave(self) -> None:
        """Go, but not before the others could read what was said: the store goes with the first process."""
        self._tell(f"left/{self.rank}", "")
        # The others need the store until they have left too.
        until = time.monotonic() + FAREWELL
        while self.rank == 0 and time.monotonic() < until:
            if self.store.check([f"left/{other}" for other in self._seen]):
                return
            time.sleep(BEAT / 4)

    def _tell(self, key: str, value: str) -> None:
        if self._alone:
            return
        try:
            self.store.set(key, value)
        except RuntimeError:  # nobody is left to read this
            self._alone = True


def shared_store(host: str, port: int, *, keeps: bool) -> TCPStore:
    """A store that all processes reach; the first keeps it, on a free port where `port` is 0.

    Raises:
        RunError: it cannot be reached.
    """
    try:
        store = TCPStore(host, port, is_master=keeps, wait_for_workers=False, timeout=timedelta(seconds=SILENCE))
    except RuntimeError as error:
        raise RunError(GONE) from error
    store.set_timeout(timedelta(seconds=ANSWER))
    return store
