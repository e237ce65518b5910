"""Work folders: they outlive a stop, one process holds them, and what others put there stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gnomon.core.errors import BusyError, ConfigError, DataError, RunError
from gnomon.data.quality.work.row_blocks import block_path
from gnomon.data.quality.work.work_folder import WorkFolder, remove_work, work_path

A = {"other data": "a", "another format": "a", "other filters": "a"}
B = {"other data": "b", "another format": "a", "other filters": "b"}


def left(out: Path, key: Mapping[str, str], error: type[BaseException] = KeyboardInterrupt) -> Path:
    """The folder that a command with one block leaves when it ends by an error."""
    with pytest.raises(error):
        _end_by(error, WorkFolder(out, key))
    return work_path(out)


def _end_by(error: type[BaseException], folder: WorkFolder) -> None:
    with folder as work:
        block_path(work.path, 0).write_text("rows")
        raise error


def test_it_stays_after_a_stop_and_goes_after_success(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "clean.jsonl"
    folder = left(out, A)
    assert folder == work_path(out)
    assert sorted(path.name for path in folder.iterdir()) == ["000000.rows", "work.json"]
    with WorkFolder(out, A) as work:
        assert block_path(work.path, 0).read_text() == "rows"
        (work.path / "flagged.jsonl").write_text("")
        (work.path / "outputs.json").write_text("")
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "stays"), [(DataError, False), (ConfigError, False), (RunError, True), (OSError, True)]
)
def test_after_an_error_that_comes_again_it_goes(tmp_path: Path, error: type[Exception], stays: bool) -> None:
    assert left(tmp_path / "clean.jsonl", A, error).exists() == stays


def test_rows_with_another_key_are_refused_or_replaced(tmp_path: Path) -> None:
    out = tmp_path / "clean.jsonl"
    folder = left(out, A)
    with pytest.raises(ConfigError, match="interrupted cleaning with other data and other filters; run that"):
        WorkFolder(out, B).__enter__()
    assert block_path(folder, 0).exists()
    with WorkFolder(out, B, overwrite=True) as work:
        assert not block_path(work.path, 0).exists()
    assert not folder.exists()


def test_a_folder_without_rows_or_with_a_damaged_record_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "clean.jsonl"
    folder = left(out, A)
    block_path(folder, 0).unlink()
    with WorkFolder(out, B):
        pass
    left(out, A)
    (folder / "work.json").write_text("{")
    with pytest.raises(ConfigError, match=r"but its work\.json is damaged; give --overwrite to start again"):
        WorkFolder(out, A).__enter__()


def test_one_process_holds_it(tmp_path: Path) -> None:
    out = tmp_path / "clean.jsonl"
    with (
        WorkFolder(out, A),
        pytest.raises(BusyError, match=r"in use by process .*; wait until it ends, or"),
    ):
        WorkFolder(out, A).__enter__()
    other = tmp_path / "other.jsonl"
    with WorkFolder(out, A), WorkFolder(other, A) as second:
        assert second.path != work_path(out)


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    out = tmp_path / "clean.jsonl"
    folder = left(out, A)
    (folder / "notes.txt").write_text("mine")
    with WorkFolder(out, A):
        pass
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_link_in_its_name_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    work_path(tmp_path / "clean.jsonl").symlink_to(elsewhere)
    with pytest.raises(RunError, match="is a link"):
        WorkFolder(tmp_path / "clean.jsonl", A, overwrite=True).__enter__()
    assert list(elsewhere.iterdir()) == []


def test_without_a_key_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _end_by(KeyboardInterrupt, WorkFolder(tmp_path / "deep" / "clean.jsonl", None))
    assert list((tmp_path / "deep").iterdir()) == []


def test_all_work_folders_of_a_folder_can_be_removed(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        left(tmp_path / name, A)
    (tmp_path / ".gnomon-0123456789ab.work.bak").mkdir()
    (tmp_path / "a.jsonl").write_text("rows")
    remove_work(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gnomon-0123456789ab.work.bak", "a.jsonl"]
    remove_work(tmp_path / "absent")
