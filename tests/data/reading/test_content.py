"""Content of compressed files up to a fault, and of files that change."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from gnomon.core.errors import DataError
from gnomon.data.reading.content import Content, data_suffix

BLOCK = 1 << 17  # bytes of a block of Zstandard


def lines_of(path: Path) -> tuple[list[bytes], str]:
    """The lines before a fault, and the fault."""
    with Content(path, str(path)) as content:
        lines = [line for _, line in content.lines()]
    fault = lines.pop()
    assert isinstance(fault, DataError)
    return [line for line in lines if isinstance(line, bytes)], str(fault)


@pytest.fixture(scope="module")
def text() -> bytes:
    """A text of 1 MB in lines of different lengths, which compresses to about a third."""
    source = random.Random(5)
    return b"".join(bytes(source.choices(b"abcdefgh", k=source.randint(1, 300))) + b"\n" for _ in range(7000))


def test_zstandard_is_read_up_to_the_last_whole_block(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(bytes(pyarrow.compress(text, "zstd", asbytes=True))[:-9])
    lines, fault = lines_of(path)
    whole = text[: len(text) // BLOCK * BLOCK]
    assert len(text) > 4 * BLOCK
    assert lines == whole.splitlines(keepends=True)[: whole.count(b"\n")]
    assert fault == "the file is cut short here; make the file again."


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_lines_before_the_end_mark_are_read(
    tmp_path: Path, text: bytes, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(compress(text)[:-1])
    lines, fault = lines_of(path)
    assert b"".join(lines) == text
    assert fault == "the file is cut short here; make the file again."


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_lines_before_a_cut_in_the_middle_are_read(
    tmp_path: Path, text: bytes, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a"
    packed = compress(text)
    path.write_bytes(packed[: len(packed) // 2])
    lines, _ = lines_of(path)
    assert 2000 < len(lines) < 5000
    assert text.startswith(b"".join(lines))


def test_a_suffix_is_that_before_the_compression() -> None:
    assert [data_suffix(name) for name in ("a.JSONL", "b/a.csv.GZ", "a.gz", "a", ".zst")] == [
        ".jsonl", ".csv", "", "", "",
    ]  # fmt: skip
