"""The outermost boundary: libraries' errors about a user's input become one sentence, and a bug becomes a file.

Paths, texts and sizes reach the operating system, codecs and allocators in many places, each with an exception of
its own. They are translated here, once. Any other exception is a bug in Gnomon: the user gets one sentence, and
the traceback goes into a file that can be sent.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.core.errors import FULL, DataError, GnomonError, RunError
from gnomon.core.redaction import redact

CRASH_CODE = 70  # EX_SOFTWARE of sysexits.h
CRASH_FOLDER = "GNOMON_CRASH_FOLDER"  # environment variable: where tracebacks are written
LONGEST_SHOWN = 120  # characters of a path or name that a sentence shows
ADVICE = {
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: "one of its folders is a file; give another path",
    errno.EISDIR: "it is a folder; give a file",
    errno.EACCES: "change its permissions or give another path",
    errno.EPERM: "change its permissions or give another path",
    errno.EROFS: "give a path on a disk that can be written",
    errno.ENOENT: "give a path that exists",
    errno.ELOOP: "its links lead in a circle; give another path",
    errno.EEXIST: "give another path or remove it",
    errno.ENOTEMPTY: "give an empty folder",
    errno.ENXIO: "give a plain file",
    errno.EINVAL: "give another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "check the disk",
    errno.ESPIPE: "give a plain file",
    errno.EADDRINUSE: "give another port",
    errno.EADDRNOTAVAIL: "give an address of this machine",
}
LONG_WORD = re.compile(r"\S{400,}")
MEMORY = re.compile(r"can't allocate|cannot allocate|unable to allocate|out of memory", re.IGNORECASE)


@contextmanager
def input_errors() -> Iterator[None]:
    """Context manager: raise `GnomonError` for libraries' errors about a user's paths, texts and sizes."""
    try:
        yield
    except GnomonError:
        raise
    except Exception as error:
        if (translated := translate(error)) is None:
            raise
        raise translated from error


def translate(error: BaseException) -> GnomonError | None:
    """Translate a library's exception about a user's input to a `GnomonError`; return `None` for any other."""
    if isinstance(error, OSError) and error.errno in ADVICE and error.errno not in FULL:
        name = error.filename if error.filename is not None else "a path"
        return RunError(f"{shown(name)} cannot be used ({error.strerror}); {ADVICE[error.errno]}.")
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        part = ascii(error.object[max(0, error.start - 10) : error.start + 1])
        return DataError(f"a text holds half of a surrogate pair, which is no character ({part}); remove it.")
    words = " ".join(part for part in error.args if isinstance(part, str))
    if isinstance(error, ValueError) and "embedded null" in words:
        return DataError("a path or text holds the character NUL, which no file name has; remove it.")
    if isinstance(error, OverflowError) and "too large to convert" in words:
        return DataError("a whole number of the input does not fit into 64 bits; give a smaller one.")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and MEMORY.search(words)):
        return RunError(
            f"there is not enough memory ({first_line(error)}); use a smaller model, batch or length."
        )
    return None


def read_text(path: Path, longest: int) -> str:
    """Read a user's text file in UTF-8.

    Args:
        path: of the file, or of a device or pipe, which may have no end.
        longest: characters that it may have.

    Raises:
        DataError: it cannot be read, is no text or is longer.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(longest + 1)
    except (OSError, ValueError) as error:
        problem = f"{shown(path)} cannot be read as a text in UTF-8 ({first_line(error)})"
        raise DataError(f"{problem}; give another file.") from None
    if len(text) > longest:
        raise DataError(f"{shown(path)} has more than {longest} characters; give a shorter text.")
    return text


def first_line(error: BaseException) -> str:
    """Return an exception's first line, or its type if it has no text, without the final period."""
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    lines = str(error).strip().splitlines() if len(error.args) < 2 else []
    return (lines[0] if lines else type(error).__name__).rstrip(". ")


def shown(name: object) -> str:
    """Shorten a path or name for a sentence, with escapes for characters that are not text."""
    text = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else str(name)
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0").replace("\n", "\\n")
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def printable(sentence: str) -> str:
    """Make a sentence printable: half surrogate pairs are escaped and overlong words cut."""
    text = LONG_WORD.sub(lambda word: f"{word[0][:LONGEST_SHOWN]}…", sentence)
    return text.encode("utf-8", "backslashreplace").decode()


def crash_folder() -> Path:
    """Return the folder for tracebacks: `GNOMON_CRASH_FOLDER`, else the folder of temporary files."""
    return Path(os.environ.get(CRASH_FOLDER) or tempfile.gettempdir())


def write_crash(error: BaseException) -> Path | None:
    """Write an exception's traceback into a new file; `None` if no file can be written."""
    try:
        folder = crash_folder()
        folder.mkdir(parents=True, exist_ok=True)
        name = f"gnomon-crash-{time.strftime('%Y%m%d-%H%M%S')}-"
        handle, path = tempfile.mkstemp(prefix=name, suffix=".txt", dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(redact(part) for part in traceback.format_exception(error))
    except OSError:
        return None
    return Path(path)
