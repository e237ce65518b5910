"""Errors that a user can act on.

Each message is one sentence: what is wrong, where, and what to do. The command line prints it and exits with
the class's code; a traceback is for mistakes in Gnomon itself.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from gnomon.core.redaction import redact

FULL = (errno.ENOSPC, errno.EDQUOT)


class GnomonError(Exception):
    """An error that the user can fix; passwords in its sentence are redacted."""

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
    """A loss or a gradient is not finite; the weights are as they were before that optimizer step."""


class BusyError(GnomonError):
    """Another program holds a resource that is needed; a later attempt may succeed."""


class DiskFullError(GnomonError):
    """A disk, or the user's quota, is full; files that were complete still are."""

    exit_code = 3


class Interrupted(GnomonError):
    """The user stopped the run; finished steps are saved."""

    exit_code = 130


@contextmanager
def translate_disk_full(
    folder: Path | str, remainder: Callable[[], str] = lambda: "nothing half-written was kept"
) -> Iterator[None]:
    """Context manager: raise `DiskFullError` for any error that a full disk caused; others pass unchanged.

    safetensors and tokenizers report it as text, and a `GnomonError` may wrap it: its sentence is kept, since it
    names the file.

    Args:
        folder: on the disk.
        remainder: returns a clause on the work that is not lost.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not _is_full(error):
            raise
        if isinstance(error, GnomonError):
            raise DiskFullError(str(error)) from error
        raise DiskFullError(
            f"no space is left on the disk that holds {folder}, and {remainder()}; free some and "
            "run the same command again."
        ) from error


@contextmanager
def translate_interrupt(sentence: str = "stopped; run the same command again to go on.") -> Iterator[None]:
    """Context manager: raise `Interrupted` with that sentence for a Ctrl-C that stops at once."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(sentence) from None


def _is_full(error: BaseException | None) -> bool:
    """Return whether a full disk caused an error, or an error in its chain.

    Reads only the error's arguments: the text of others, such as pydantic's, contains all of their input.
    """
    seen: set[int] = set()  # chains may be cyclic
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        words = " ".join(part for part in error.args if isinstance(part, str)).lower()
        if getattr(error, "errno", None) in FULL or "no space left on" in words or "quota exceeded" in words:
            return True
        error = error.__cause__ or error.__context__
    return False
