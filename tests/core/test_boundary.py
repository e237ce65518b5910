"""Library errors about a user's input become a sentence; other exceptions become a crash file."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from project import Ran

import gnomon
from gnomon.core.boundary import input_errors, read_text, shown, write_crash
from gnomon.core.config import Settings, read_yaml, validate
from gnomon.core.errors import ConfigError, DataError, DiskFullError, GnomonError, translate_disk_full

LONG = "a" * 5000


def sqlite_int() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("select ?", [2**70])


RAISED: dict[str, tuple[Callable[[], object], str]] = {
    "a long name": (Path(LONG).open, "aaa… cannot be used (File name too long); give a shorter name."),
    "a path through a file": (
        lambda: os.listdir(f"{__file__}/x"),
        "cannot be used (Not a directory); one of its folders is a file; give another path.",
    ),
    "a folder": (Path(os.curdir).open, "cannot be used (Is a directory); it is a folder; give a file."),
    "NUL": (Path("a\0b").open, "a path or text holds the character NUL, which no file name has; remove it."),
    "half a pair": (lambda: "x\ud800".encode(), r"half of a surrogate pair, which is no character ('x\ud800')"),
    "SQLite's integers": (
        sqlite_int,
        "a whole number of the input does not fit into 64 bits; give a smaller one.",
    ),
    "torch's memory": (lambda: torch.empty(2**60), "there is not enough memory"),
    "Python's memory": (lambda: bytearray(2**62), "there is not enough memory (MemoryError)"),
}


@pytest.mark.parametrize("kind", RAISED)
def test_library_errors_about_input_become_a_sentence(kind: str) -> None:
    act, sentence = RAISED[kind]
    with pytest.raises(GnomonError) as excinfo, input_errors():
        act()
    assert sentence in str(excinfo.value)
    assert len(str(excinfo.value)) < 300


@pytest.mark.parametrize(
    "error", [KeyError("x"), RuntimeError("shapes"), OSError(errno.ENOSPC, "full"), ValueError()]
)
def test_other_exceptions_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as excinfo, input_errors():
        raise error
    assert excinfo.value is error


def test_a_name_is_shown_on_one_short_line() -> None:
    assert shown(b"caf\xe9") == r"caf\udce9"
    assert shown("a\nb\0") == r"a\nb\0"
    assert len(shown(LONG)) == 121


def test_the_file_of_a_mistake_holds_its_traceback(no_crashes: Path) -> None:
    try:
        raise KeyError("half \ud800")
    except KeyError as error:
        file = write_crash(error)
    assert file is not None
    assert file.parent == no_crashes
    assert "test_the_file_of_a_mistake" in file.read_text(encoding="utf-8")
    file.unlink()


def test_arguments_that_are_no_text_are_refused(ask: Callable[..., Ran]) -> None:
    code, out, err = ask("check", os.fsdecode(b"caf\xe9.yaml"))
    assert (code, out) == (2, "")
    assert err == "error: argument 2 (caf\\udce9.yaml) is not text in UTF-8; write it in UTF-8.\n"


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "its aliases expand to more than 100000 values"),
        (MERGES, "its aliases expand to more than 100000 values"),
        ("a: &a [*a]\n", "an alias contains itself"),
        ("a: " + "[" * 150 + "]" * 150, "it is nested more than 100 levels deep"),
        ("a: " + "x" * (1 << 20), "it has 1048577 characters"),
    ],
    ids=["aliases", "merges", "a circle", "depth", "length"],
)
def test_a_text_that_unfolds_without_end_is_refused_at_once(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as excinfo, translate_disk_full(tmp_path):
        read_yaml(path)
    assert sentence in str(excinfo.value)


def test_a_device_is_no_recipe() -> None:
    with pytest.raises(ConfigError, match="/dev/zero"):
        read_yaml(Path("/dev/zero"))


class Named(Settings):
    name: str = ""
    more: dict[str, object] | None = None


@pytest.mark.parametrize("content", [{"name": "a\0b"}, {"name": "\ud800"}, {"more": {"\udfff": 1}}])
def test_settings_hold_text_only(content: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"here: '.*' holds a character that is no text; remove it\."):
        validate(Named, content, "here")


@pytest.mark.timeout(20)
def test_the_look_for_a_full_disk_reads_no_input_and_ends() -> None:
    """A chain of exceptions may be a circle, and pydantic's text of an error holds all of its input."""

    class Endless(Exception):
        def __str__(self) -> str:
            raise AssertionError("its input is read")

    first, second = Endless(), OSError("one")
    first.__context__, second.__context__ = second, first
    with pytest.raises(Endless), translate_disk_full("x"):
        raise first
    with pytest.raises(DiskFullError), translate_disk_full("x"):
        raise ValueError("shard 3: No space left on device")


def test_python_calls_have_the_same_boundary() -> None:
    """`Path.exists` raises for a name that no file can have."""
    with pytest.raises(GnomonError):
        gnomon.inspect(LONG)
    assert gnomon.inspect.__name__ == "inspect"


def test_a_text_file_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("名前", encoding="utf-8")
    assert read_text(tmp_path / "short.txt", 2) == "名前"
    with pytest.raises(DataError, match="/dev/zero has more than 10 characters; give a shorter text"):
        read_text(Path("/dev/zero"), 10)
    with pytest.raises(DataError, match="cannot be read as a text in UTF-8"):
        read_text(tmp_path, 10)
