"""Broken compressed files, and files that hold no rows."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile

import pyarrow

from broken_files.arrow_files import parquet, table
from broken_files.case import GOOD, PAIR, TWO, Broken, lines, row


def archive(data: bytes) -> bytes:
    """A tar archive of one file."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        info = tarfile.TarInfo("a.jsonl")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def zstandard(data: bytes) -> bytes:
    """Content compressed with Zstandard."""
    return bytes(pyarrow.compress(data, "zstd", asbytes=True))


def damaged(data: bytes, at: int, by: bytes) -> bytes:
    """The data with some bytes replaced."""
    return data[:at] + by + data[at + len(by) :]


def many(count: int = 400) -> bytes:
    """Rows that compress badly, so that a cut leaves whole ones before it."""
    return lines(*(row(f"{n}", f"{n * 7919**9:x}{n * 104729**11:x}") for n in range(count)))


CUT = tuple(f"{n}" for n in range(400))
COMPRESSED = (
    Broken("gzip that is cut", "a.jsonl.gz", lambda: gzip.compress(many())[:-9], CUT, {"line 401": "cut short"}),
    Broken(
        "text after the end of gzip",
        "a.jsonl.gz",
        lambda: gzip.compress(TWO) + b"more",
        GOOD,
        {"line 3": "damaged"},
    ),
    Broken(
        "a wrong checksum of gzip",
        "a.jsonl.gz",
        lambda: damaged(gzip.compress(TWO), len(gzip.compress(TWO)) - 8, b"\0\0\0\0"),
        GOOD,
        {"line 3": "CRC"},
    ),
    Broken("the header of gzip alone", "a.jsonl.gz", lambda: gzip.compress(TWO)[:10], refused="cut short"),
    Broken(
        "two gzip files joined",
        "a.jsonl.gz",
        lambda: gzip.compress(lines(row("a"))) + gzip.compress(lines(row("b"))),
        GOOD,
    ),
    Broken("gzip without its ending", "a.jsonl", lambda: gzip.compress(TWO), GOOD),
    Broken("the ending of gzip without gzip", "a.jsonl.gz", TWO, GOOD),
    Broken(
        "a table in UTF-16 in gzip",
        "a.csv.gz",
        lambda: gzip.compress("prompt,completion\na,Yes.\nb,Yes.\n".encode("utf-16")),
        GOOD,
    ),
    Broken("gzip in gzip", "a.jsonl.gz", lambda: gzip.compress(gzip.compress(TWO)), refused="compressed twice"),
    Broken(
        "Parquet in gzip",
        "a.parquet.gz",
        lambda: gzip.compress(parquet(table(PAIR))),
        refused="Parquet inside gzip",
    ),
    Broken("bzip2 that is cut", "a.jsonl.bz2", lambda: bz2.compress(many())[:-3], CUT, {"line 401": "cut short"}),
    Broken("xz that is cut", "a.jsonl.xz", lambda: lzma.compress(many())[:-3], CUT, {"line 401": "cut short"}),
    Broken("zstd that is cut", "a.jsonl.zst", lambda: zstandard(TWO)[:-5], refused="cut short"),
    Broken(
        "two zstd frames", "a.json.zst", lambda: zstandard(lines(row("a"))) + zstandard(lines(row("b"))), GOOD
    ),
    Broken("a list in xz", "a.json.xz", lambda: lzma.compress(json.dumps(PAIR).encode()), GOOD),
)
OTHERS = (
    Broken("a workbook of Excel", "a.csv", b"PK\x03\x04" + bytes(30), refused="zip archive or an Excel workbook"),
    Broken("a tar archive", "a.tar.gz", lambda: gzip.compress(archive(TWO)), refused="tar archive"),
    Broken("a PDF document", "a.json", b"%PDF-1.7\n", refused="PDF"),
    Broken(
        "a pointer of Git LFS",
        "a.parquet",
        b"version https://git-lfs.github.com/spec/v1\n",
        refused="git lfs pull",
    ),
    Broken("a web page", "a.jsonl", b"<!DOCTYPE html><html></html>", refused="a web page"),
    Broken("a database", "a.csv", b"SQLite format 3\0", refused="SQLite"),
    Broken("a pickle", "a.jsonl", pickle.dumps(PAIR, protocol=4), refused="pickle"),
    Broken("a text with an unknown ending", "a.doc", b"a\nb\n", refused=r"the ending '\.doc' is not known"),
    Broken("JSON lines with an unknown ending", "a.txt", TWO, GOOD),
)
