"""Fetching files from PyPI: real pip, against a folder that stands in for the index."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from gnomon.core.errors import DataError
from gnomon.data.reading import downloads
from gnomon.data.reading.downloads import cache_folder, fetch_from_pypi

WHEEL = "sundial-1.0-py3-none-any.whl"


def write_wheel(folder: Path) -> str:
    """Write the smallest wheel that pip accepts; returns its SHA-256."""
    metadata = "Metadata-Version: 2.1\nName: sundial\nVersion: 1.0\n"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("sundial-1.0.dist-info/METADATA", metadata)
        wheel.writestr("sundial-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("sundial-1.0.dist-info/RECORD", "")
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNOMON_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("GNOMON_CACHE")
    assert cache_folder() == Path("/xdg/gnomon")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "gnomon"


def test_fetches_once_and_reports_it(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = write_wheel(index)
    path = fetch_from_pypi("sundial==1.0", WHEEL, digest, source=False)
    assert path == cache_folder() / WHEEL
    assert path.read_bytes() == (index / WHEEL).read_bytes()
    assert capsys.readouterr().err.count("\n") == 1
    assert [entry.name for entry in cache_folder().iterdir()] == [WHEEL]  # nothing temporary stays

    (index / WHEEL).unlink()
    assert fetch_from_pypi("sundial==1.0", WHEEL, digest, source=False) == path
    assert capsys.readouterr().err == ""


def test_a_damaged_cached_file_is_fetched_again(index: Path) -> None:
    digest = write_wheel(index)
    cache_folder().mkdir()
    (cache_folder() / WHEEL).write_bytes(b"half a file")
    path = fetch_from_pypi("sundial==1.0", WHEEL, digest, source=False)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_wrong_hash_is_refused_and_not_cached(index: Path) -> None:
    write_wheel(index)
    with pytest.raises(DataError, match=r"^the file of sundial==1\.0 does not have the pinned SHA-256 0000"):
        fetch_from_pypi("sundial==1.0", WHEEL, "0" * 64, source=False)
    assert list(cache_folder().iterdir()) == []


def test_hash_is_checked_even_if_pip_does_not(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(_: str, __: str, folder: Path, **___: object) -> None:
        (folder / WHEEL).write_bytes(b"something else")

    monkeypatch.setattr(downloads, "_pip_download", careless)
    with pytest.raises(DataError, match="does not have the pinned SHA-256"):
        fetch_from_pypi("sundial==1.0", WHEEL, "0" * 64, source=False)
    assert list(cache_folder().iterdir()) == []


def test_a_failure_of_pip_names_the_reason_and_a_remedy(index: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch_from_pypi("sundial==1.0", WHEEL, "0" * 64, source=False)
    message = str(caught.value)
    assert "No matching distribution found for sundial==1.0" in message
    assert f"place the file at {cache_folder() / WHEEL} yourself" in message
    assert "\n" not in message


def test_a_wheel_does_not_pass_for_a_source_archive(index: Path) -> None:
    digest = write_wheel(index)
    with pytest.raises(DataError, match="pip could not fetch"):
        fetch_from_pypi("sundial==1.0", "sundial-1.0.tar.gz", digest, source=True)


def test_another_file_than_expected_is_named(index: Path) -> None:
    digest = write_wheel(index)
    with pytest.raises(DataError, match=f"gave {WHEEL} where sundial-1.0-py3-none-linux.whl was expected"):
        fetch_from_pypi("sundial==1.0", "sundial-1.0-py3-none-linux.whl", digest, source=False)


def test_a_cache_that_cannot_be_written_is_an_error_for_the_user(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set GNOMON_CACHE"):
        fetch_from_pypi("sundial==1.0", WHEEL, "0" * 64, source=False)
