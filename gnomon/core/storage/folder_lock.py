"""Lock that admits one process at a time to a folder.

It is an advisory lock on a file in the folder. The system releases it when its process ends, however it ends, so
reused process ids do not matter and nobody has to remove a stale file. Linux carries such locks over NFS, and
processes of several containers on one computer see each other's. If a disk keeps locks to one computer, or has
none, the file's modification time replaces the lock: its owner renews it every few seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import socket
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gnomon.core.errors import BusyError, RunError
from gnomon.core.redaction import redact_arguments
from gnomon.core.storage.leftovers import is_same_file

NAME = ".gnomon.lock"
BEAT = 10.0  # seconds between two signs of life
SILENCE = 60.0  # seconds without one after which a process on another computer counts as gone


class FolderLock:
    """Holds a folder until `release`; creates it if there is none.

    Args:
        folder: to hold.
        purpose: role of the folder in messages, such as "run folder".
        advice: what to do, in messages, where another process holds it.
        beat: seconds between two signs of life.
        subject: what is in use, in the message of a refusal; by default the purpose and the folder.
    """

    def __init__(
        self,
        folder: Path,
        purpose: str,
        *,
        advice: str = "give another folder",
        beat: float = BEAT,
        subject: str = "",
    ):
        self.folder, self.purpose, self.advice, self.beat = folder, purpose, advice, beat
        self.subject = subject or f"the {purpose} {folder}"
        self.path = folder / NAME
        self._handle: int | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            BusyError: another process holds it.
            RunError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = self._locked()
        except OSError as error:
            raise RunError(
                f"the {self.purpose} {self.folder} cannot be written ({error.strerror or error}); give another."
            ) from None
        self._handle = handle
        content = json.dumps(_this_process())
        os.ftruncate(handle, 0)
        os.pwrite(handle, content.encode(), 0)
        threading.Thread(target=self._give_signs, args=(handle,), name="folder-lock", daemon=True).start()

    def release(self) -> None:
        """Release the folder, and remove the lock's file."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._over.set()
            if is_same_file(self.path, handle):
                self.path.unlink(missing_ok=True)
            os.close(handle)

    @property
    def lost(self) -> bool:
        """True if the folder was moved or removed since it was locked."""
        return self._handle is not None and not is_same_file(self.path, self._handle)

    def check(self) -> None:
        """Check that the folder is still in its place.

        Raises:
            RunError: it was moved or removed.
        """
        if self.lost:
            raise RunError(
                f"the {self.purpose} {self.folder} was moved or removed while this process used it, so nothing "
                "more is written; put it back and run the same command again."
            )

    def _locked(self) -> int:
        """Open and lock the lock's file; returns its descriptor."""
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                known = _try_lock(handle)
                holder = _read(handle)
                if known is False or (holder and self._is_alive_elsewhere(handle, holder, locks=known is True)):
                    raise BusyError(self._refusal(holder))
                if is_same_file(self.path, handle):  # else its owner removed it on leaving
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def _is_alive_elsewhere(self, handle: int, holder: dict[str, Any], *, locks: bool) -> bool:
        """Return whether the recorded process may be alive on a computer that locks do not reach.

        A running system sees all locks of its own processes, so for those only a disk without locks leaves doubt.
        """
        if locks and holder.get("boot") == _boot():
            return False
        with tempfile.TemporaryFile(dir=self.folder) as probe:  # both times are those of the disk's computer
            probe.write(b".")
            probe.flush()
            age = os.fstat(probe.fileno()).st_mtime - os.fstat(handle).st_mtime
        return age < SILENCE

    def _refusal(self, holder: dict[str, Any]) -> str:
        who = "another process"
        if holder:
            host = "" if holder.get("host") == socket.gethostname() else f" on {holder.get('host')}"
            command = str(holder.get("command", ""))[:120]
            who = f"process {holder.get('pid')}{host} since {holder.get('started')} ({command})"
        return f"{self.subject} is in use by {who}; wait until it ends, or {self.advice}."

    def _give_signs(self, handle: int) -> None:
        while not self._over.wait(self.beat):
            with contextlib.suppress(OSError):  # the folder may be gone, which `check` reports
                if self._handle == handle:
                    os.utime(handle)


def _try_lock(handle: int) -> bool | None:
    """Try to lock: true if taken, false if another process has the lock, `None` on a disk without locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _read(handle: int) -> dict[str, Any]:
    """Read the last owner's record of itself; empty if it released the lock."""
    try:
        content = json.loads(os.pread(handle, 1 << 16, 0))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _this_process() -> dict[str, Any]:
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _boot(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([name, *redact_arguments(sys.argv[1:])]),
    }


def _boot() -> str:
    """Return the running system's boot id, the same in all its containers; the host's name if it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
