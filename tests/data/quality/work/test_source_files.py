"""Files of a source: their digest is of the content, and changes are noticed unless a file only grows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gnomon.core.errors import DataError
from gnomon.data.quality.work.source_files import SourceFiles


def append(file: Path) -> None:
    with file.open("a") as stream:
        stream.write("3\n")


def edit(file: Path) -> None:
    """Change a byte, with the size and the time as they were."""
    facts = file.stat()
    file.write_text("1\n9\n")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))


def edit_and_append(file: Path) -> None:
    edit(file)
    append(file)


def replace(file: Path) -> None:
    """Put a file with the same content and time in its place."""
    facts, copy = file.stat(), file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    os.utime(copy, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    copy.replace(file)


def shorten(file: Path) -> None:
    file.write_text("1\n")


@pytest.mark.parametrize("name", ["data/a.jsonl", "data/*.jsonl", "data"])
@pytest.mark.parametrize("change", [edit, edit_and_append, replace, shorten, Path.unlink])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, name: str, change: Callable[[Path], None]) -> None:
    file = tmp_path / "data" / "a.jsonl"
    file.parent.mkdir()
    file.write_text("1\n2\n")
    source = SourceFiles(tmp_path / name)
    source.digest()
    source.check()
    change(file)
    with pytest.raises(
        DataError, match=r"data/a\.jsonl changed while it was read, and no row of it was kept; run"
    ):
        source.check()


def test_what_is_appended_or_added_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("1\n2\n")
    source = SourceFiles(tmp_path / "*.jsonl")
    first = source.digest()
    append(file)
    (tmp_path / "b.jsonl").write_text("4\n")
    source.check()
    assert source.digest() == first


def test_a_digest_has_the_names_that_reading_depends_on(tmp_path: Path) -> None:
    names = ("x/a.jsonl", "x/a.csv", "y/b.jsonl", "y/.gnomon-0123456789ab.work/000000.rows")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "b.jsonl").write_text("1\n")

    def digest(name: str) -> str:
        return SourceFiles(tmp_path / name).digest()

    assert digest("x/a.jsonl") == digest("y/b.jsonl")
    assert digest("y") == digest("z")
    others = ("x/a.jsonl", "x/a.csv", "x/a.jsonl#train", "x", "y", "z#train", "y/*.jsonl", "z/*.jsonl")
    assert len({digest(name) for name in others}) == len(others)
