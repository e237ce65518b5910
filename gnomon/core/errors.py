"""Errors that a user can act on.

Each message is one sentence: what is wrong, where, and what to do. The command line prints it and exits with
the class's code; a traceback is for mistakes in Gnomon itself.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from gnomon.core.redaction import redact

FULL = (errno.ENOSPC, errno.EDQUOT)


class GnomonError(Exception):
    """Something the user can mend; its sentence holds no password, whatever address it quotes."""

    exit_code: ClassVar[int] = 2

    def __init__(self, *parts: object):
        super().__init__(*(redact(part) if isinstance(part, str) else part for part in parts))


class ConfigError(GnomonError):
    """A recipe or an override is wrong."""


class DataError(GnomonError):
    """Input data is wrong, or a file is missing or damaged."""


class ModelError(GnomonError):
    """A model cannot be found, loaded or used."""


class RunError(GnomonError):
    """A run folder cannot be used, or training cannot go on."""


class NotFiniteError(RunError):
    """A loss or a gradient is no number; the weights are as they were before that optimiser step."""


class BusyError(GnomonError):
    """Another program holds what is needed; the same may work in a while."""


class DiskFullError(GnomonError):
    """A disk, or the user's share of it, is full; what was whole before is still whole."""

    exit_code = 3


class Interrupted(GnomonError):
    """The user stopped the run; what was done is saved."""

    exit_code = 130


@contextmanager
def translate_disk_full(folder: Path | str) -> Iterator[None]:
    """Turn the many errors in which a full disk shows itself into `DiskFullError`; others pass unchanged.

    safetensors and tokenizers report it in words of their own, and a `GnomonError` may stand in front of it: its
    sentence is kept, for it names the file.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not _is_full(error):
            raise
        if isinstance(error, GnomonError):
            raise DiskFullError(str(error)) from error
        raise DiskFullError(
            f"no space is left on the disk that holds {folder}, and nothing half-written was kept; "
            "free some and run the same command again."
        ) from error


@contextmanager
def translate_interrupt(sentence: str = "stopped; run the same command again to go on.") -> Iterator[None]:
    """Turn a Ctrl-C that no step waited for, or a second one, into `Interrupted` with that sentence."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(sentence) from None


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error, or behind one that it arose from.

    Only texts that the error was made with are read: others, as pydantic's, write out all of their input.
    """
    seen: set[int] = set()  # chains may be cyclic
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        words = " ".join(part for part in error.args if isinstance(part, str)).lower()
        if getattr(error, "errno", None) in FULL or "no space left on" in words or "quota exceeded" in words:
            return True
        error = error.__cause__ or error.__context__
    return False
