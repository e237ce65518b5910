"""The bytes of a data file: unpacked, as UTF-8, and no further than the file's size when it was opened."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, cast

from gnomon.core.boundary import ADVICE
from gnomon.core.errors import DataError
from gnomon.data.reading.read_progress import reading
from gnomon.data.reading.text_encodings import encoding_by_mark

PACKED = {".gz", ".bz2", ".xz", ".zst"}
SAMPLE = 1 << 16  # bytes by which a file's format and encoding are recognized
LONGEST_LINE = 1 << 30  # bytes; a longer line is no row, and would fill the memory
_BUFFER = 1 << 18
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def data_suffix(name: str) -> str:
    """Return the ending of a file's name in lower case, without that of a compression."""
    path = Path(name)
    return Path(path.stem if path.suffix.lower() in PACKED else path.name).suffix.lower()


class Content:
    """The content of a file, read once from start to end; a context manager.

    Args:
        file: of the content.
        name: of the file, for the progress.

    Attributes:
        sample: the first bytes.
        compression: name of the file's compression; "" if it has none.

    Raises:
        DataError: the file cannot be read; the message does not name it.
    """

    def __init__(self, file: Path, name: str):
        self._stack = ExitStack()
        try:
            self._raw = self._stack.enter_context(_opened(file))
            self._raw.report = self._stack.enter_context(reading(name, self._raw.size))
            packed = io.BufferedReader(self._raw, _BUFFER)
            self.compression = compression_of(self._checked(packed.peek, 16))
            self._stream = self._stack.enter_context(_unpacked(packed, self.compression))
            self.sample = self._peek()
            encoding = encoding_by_mark(self.sample)
            if encoding == "utf-8":
                self._stream.read(len(codecs.BOM_UTF8))
                self.sample = self.sample.removeprefix(codecs.BOM_UTF8)
            elif encoding is not None:
                self._stream = io.BufferedReader(_AsUtf8(self._stream, encoding), _BUFFER)
                self.sample = self._peek()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def grew(self) -> bool:
        """Whether the file is larger than it was when it was opened."""
        return self._raw.grew

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; none at the end.

        Raises:
            DataError: the file is damaged.
        """
        return self._checked(self._stream.read1, size)

    def _peek(self) -> bytes:
        return self._checked(self._stream.peek, SAMPLE)[:SAMPLE]

    def lines(self) -> Iterator[tuple[int, bytes | DataError]]:
        """Yield the number and the bytes of each line. Where the file is damaged, the last is the reason."""
        number = 0
        while True:
            number += 1
            try:
                line = self._checked(self._stream.readline, LONGEST_LINE)
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    while (more := self._checked(self._stream.readline, LONGEST_LINE)) and more[-1:] != b"\n":
                        pass
                    yield number, DataError(f"the line is longer than {LONGEST_LINE:,} bytes; split it.")
                    continue
            except DataError as error:
                yield number, error
                return
            if not line:
                return
            yield number, line

    def _checked(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except (EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError, OSError) as error:
            raise DataError(f"{_damage(error)}; make the file again.") from None


def _damage(error: Exception) -> str:
    words = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in words or "unexpected end of data" in words:
        return "the file is cut short here"
    return f"the file is damaged here ({str(error).splitlines()[0].rstrip('. ')})"


def _opened(file: Path) -> _AtStart:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise DataError("it is neither a file nor a folder; give a plain file.")
        return _AtStart(file.open("rb", buffering=0))
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "give another file")
        raise DataError(f"cannot be read ({error.strerror}); {advice}.") from None


class _AtStart(io.RawIOBase):
    """A file up to the size that it had when it was opened: another program may still be writing it."""

    def __init__(self, file: io.FileIO):
        self._file = file
        self.size, self.done = os.fstat(file.fileno()).st_size, 0
        self.report: Callable[[int], None] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.done = self._file.seek(offset, whence)
        return self.done

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.size - self.done)
        count = self._file.readinto(memoryview(buffer)[:wanted]) or 0
        if count == 0 and wanted > 0:
            raise EOFError("the file became shorter while it was read")
        self.done += count
        if self.report is not None:
            self.report(self.done)
        return count

    @property
    def grew(self) -> bool:
        return os.fstat(self._file.fileno()).st_size > self.size

    def close(self) -> None:
        self._file.close()
        super().close()


def compression_of(start: bytes) -> str:
    """Return the name of the compression that the first bytes of a file show; "" for none."""
    if _BZIP2.match(start):
        return "bzip2"
    return next((name for mark, name in _COMPRESSED.items() if start.startswith(mark)), "")


def _unpacked(stream: Any, compression: str) -> io.BufferedReader:
    if not compression:
        return cast("io.BufferedReader", stream)
    readers: dict[str, Callable[[Any], Callable[[int], bytes]]] = {
        "gzip": lambda packed: gzip.GzipFile(fileobj=packed).read1,
        "bzip2": lambda packed: bz2.BZ2File(packed).read1,
        "xz": lambda packed: lzma.LZMAFile(packed).read1,  # noqa: SIM115 - the stream is closed by its owner
        "zstd": lambda packed: _Zstandard(packed).read,
    }
    return io.BufferedReader(_Unpacked(readers[compression](stream)), _BUFFER)


class _Unpacked(io.RawIOBase):
    """Decompressed content. What stands before a fault is returned before the fault is raised."""

    def __init__(self, read: Callable[[int], bytes]):
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Zstandard:
    """Reads content compressed with Zstandard. `pyarrow` drops what it has read of a piece with a fault in it.

    Args:
        packed: the compressed file, which can be read again.
    """

    def __init__(self, packed: io.BufferedReader):
        self._packed, self._done = packed, 0
        self._fault: OSError | None = None
        self._stream, self._broken = self._open(), None

    def _open(self) -> Any:
        import pyarrow

        return pyarrow.CompressedInputStream(self._packed, "zstd")

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; those before a fault are read before it is raised."""
        if self._fault is not None:
            raise self._fault
        try:
            data: bytes = self._stream.read(size)
        except OSError as error:
            self._fault = error
            data = self._before_fault()
            if not data:
                raise
        self._done += len(data)
        return data

    def _before_fault(self) -> bytes:
        """Read from the start again, up to the last byte before the fault."""
        self._packed.seek(0)
        self._broken, self._stream = self._stream, self._open()  # one that is not held closes the file
        skipped = 0
        while skipped < self._done:
            skipped += len(self._stream.read(min(_BUFFER, self._done - skipped)))
        data = bytearray()
        with suppress(OSError):
            while byte := self._stream.read(1):
                data += byte
        return bytes(data)


class _AsUtf8(io.RawIOBase):
    """Text in another encoding as UTF-8. Half of a surrogate pair stays what it is: its row is refused later."""

    def __init__(self, stream: io.BufferedReader, encoding: str):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._stream.read1(_BUFFER)
            self._ready = self._decoder.decode(data, final=not data).encode("utf-8", "surrogatepass")
            if not data:
                break
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count
