"""Cleaning that was stopped or killed goes on where it was, and writes what it would have written at once."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from project import write_rows
from quality_rows import lines, pair

from gnomon.core.errors import ConfigError, DataError, DiskFullError, Interrupted, translate_disk_full
from gnomon.data.formats.registry import RowLayout
from gnomon.data.quality import clean, file_checks
from gnomon.data.quality.clean import clean_file
from gnomon.data.quality.report import output_files
from gnomon.data.quality.shard import RowChecks
from gnomon.data.quality.work.checked_rows import CheckedRows
from gnomon.data.quality.work.row_blocks import write_block
from gnomon.data.quality.work.work_folder import work_path
from gnomon.data.records import own_rows

FILES = ("clean.jsonl", "rejected.jsonl", "flagged.jsonl", "report.json")
SETTINGS = {"margin": {"min_margin": 1}, "refusals": "report"}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "SHARD", 8)
    monkeypatch.setattr(file_checks, "BLOCK_ROWS", 24)
    monkeypatch.setattr(file_checks, "BLOCK_SECONDS", 1e6)


def rows() -> list[Any]:
    """100 rows, of which some repeat, are damaged, are flagged or have keys of their own."""
    made: list[Any] = [
        pair(f"Question {n % 80}?", f"Answer {n % 80 * 7919}.", "No", margin=n % 5) for n in range(95)
    ]
    made[7] = {"prompt": "damaged"}
    made[30] = {**pair("With a column?", "Answer.", "None", margin=2), "topic": "x"}
    made[60] = pair("Refused?", "I'm sorry, but I can't assist with that.", "No", margin=3)
    return [*made, *(pair(f"Mail {n}?", f"a{n}@example.org", "No", margin=2) for n in range(5))]


def written(folder: Path) -> dict[str, Any]:
    """The content of all files, but for the time."""
    content: dict[str, Any] = {
        name: (folder / name).read_bytes() for name in FILES[:3] if (folder / name).exists()
    }
    report = json.loads((folder / FILES[3]).read_text("utf-8"))
    report.pop("seconds")
    files = report.pop("files")
    assert all(Path(file).exists() for file in files.values())
    return {**content, "report": report, "files": sorted(files)}


@contextmanager
def stopped_at(count: int) -> Iterator[None]:
    """Raise what Ctrl-C raises, when that many rows are read."""

    def cut(*arguments: Any) -> Iterator[Any]:
        for number, row in enumerate(own_rows(*arguments)):
            if number == count:
                raise KeyboardInterrupt
            yield row

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_checks, "own_rows", cut)
        yield


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    write_rows(path, rows())
    return path


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> dict[str, Any]:
    """What one uninterrupted call writes."""
    clean_file(source, tmp_path / "whole" / "clean.jsonl", SETTINGS, jobs=1)
    return written(tmp_path / "whole")


@pytest.mark.parametrize(
    ("count", "jobs", "later_jobs"),
    [(0, 1, 1), (5, 1, 1), (24, 1, 1), (50, 1, 2), (50, 2, 1), (99, 1, 1), (99, 2, 2)],
)
def test_stopped_anywhere_and_called_again_it_writes_the_same_bytes(
    source: Path, whole: dict[str, Any], tmp_path: Path, count: int, jobs: int, later_jobs: int
) -> None:
    out = tmp_path / "again" / "clean.jsonl"
    with stopped_at(count), pytest.raises(Interrupted, match="run the same command again"):
        clean_file(source, out, SETTINGS, jobs=jobs)
    assert [path for path in out.parent.iterdir() if not path.name.startswith(".")] == []
    report = clean_file(source, out, SETTINGS, jobs=later_jobs)
    assert written(out.parent) == whole
    assert report.rows == 100 == report.clean + report.rejected
    assert sorted(path.name for path in out.parent.iterdir()) == sorted([*FILES, "report.txt"])


def test_no_row_is_checked_twice_however_often_it_is_stopped(
    source: Path, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    check = RowChecks._check

    def counted(self: RowChecks, where: str, *rest: Any) -> Any:
        checked.append(where)
        return check(self, where, *rest)

    monkeypatch.setattr(RowChecks, "_check", counted)
    out = tmp_path / "again" / "clean.jsonl"
    for count, done in ((20, 16), (70, 64), (71, 64)):
        with stopped_at(count), pytest.raises(Interrupted, match=f"after {done} checked rows;"):
            clean_file(source, out, SETTINGS, jobs=1)
    clean_file(source, out, SETTINGS, jobs=1)
    assert checked == [f"line {n}" for n in range(1, 101)]
    assert written(out.parent) == whole


def test_a_stop_before_the_first_row_says_so(source: Path, tmp_path: Path) -> None:
    with (
        stopped_at(0),
        pytest.raises(Interrupted, match="stopped before a row was checked; run the same command"),
    ):
        clean_file(source, tmp_path / "clean.jsonl")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("step", ["compare_rows", "_write_rows", "_report"])
def test_stopped_after_the_checks_it_checks_nothing_again(
    source: Path, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "again" / "clean.jsonl"
    monkeypatch.setattr(clean, step, stop)
    with pytest.raises(Interrupted, match="after 100 checked rows"):
        clean_file(source, out, SETTINGS)
    monkeypatch.undo()
    monkeypatch.setattr(RowChecks, "_check", stop)
    clean_file(source, out, SETTINGS)
    assert written(out.parent) == whole


@pytest.mark.parametrize("renamed", [1, 4])
def test_files_that_it_wrote_itself_before_a_stop_are_no_obstacle(
    source: Path, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    out = tmp_path / "again" / "clean.jsonl"
    outputs, replace = output_files(out), os.replace

    def stop(before: Any, after: Path) -> None:
        if after in outputs.values() and sum(path.exists() for path in outputs.values()) == renamed:
            raise KeyboardInterrupt
        replace(before, after)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(Interrupted, match="after 100 checked rows"):
        clean_file(source, out, SETTINGS)
    monkeypatch.setattr(os, "replace", replace)
    assert sum(path.exists() for path in outputs.values()) == renamed
    clean_file(source, out, SETTINGS)
    assert written(out.parent) == whole
    with pytest.raises(ConfigError, match=r"clean.jsonl exists; give another --out, or --overwrite"):
        clean_file(source, out, SETTINGS)


def test_a_file_that_somebody_changed_after_a_stop_is_an_obstacle(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace = tmp_path / "again" / "clean.jsonl", os.replace

    def stop(before: Any, after: Path) -> None:
        replace(before, after)
        if after == out:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(Interrupted):
        clean_file(source, out, SETTINGS)
    monkeypatch.setattr(os, "replace", replace)
    with out.open("a") as file:
        file.write("{}\n")
    with pytest.raises(ConfigError, match=r"clean.jsonl exists; give another --out, or --overwrite"):
        clean_file(source, out, SETTINGS)


def test_keys_that_a_stopped_call_read_count_as_read(source: Path, tmp_path: Path) -> None:
    """`topic` is in row 31 alone, before the stop."""
    out = tmp_path / "clean.jsonl"
    with stopped_at(60), pytest.raises(Interrupted):
        clean_file(source, out)
    assert clean_file(source, out).unread == ("topic",)


def test_rows_of_another_format_go_on_too(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_rows(source, [{"q": f"Question {n}?", "a": f"Answer {n}", "b": "No", "extra": 1} for n in range(60)])
    layout = RowLayout.of(columns={"prompt": "q", "chosen": "a", "rejected": "b"})
    clean_file(source, tmp_path / "whole" / "clean.jsonl", layout=layout)
    out = tmp_path / "again" / "clean.jsonl"
    with stopped_at(40), pytest.raises(Interrupted):
        clean_file(source, out, layout=layout)
    report = clean_file(source, out, layout=layout)
    assert report.unread == ("extra",)
    assert written(out.parent) == written(tmp_path / "whole")


@pytest.fixture
def stopped(source: Path, tmp_path: Path) -> Path:
    """The output of a call that was stopped."""
    out = tmp_path / "clean.jsonl"
    (tmp_path / "words.txt").write_text("damn\n")
    with stopped_at(50), pytest.raises(Interrupted):
        clean_file(source, out, {"lexicon": {"files": [str(tmp_path / "words.txt")]}})
    return out


@pytest.mark.parametrize("change", ["settings", "data", "lexicon", "layout"])
def test_other_rows_are_neither_used_nor_lost(source: Path, stopped: Path, tmp_path: Path, change: str) -> None:
    words = tmp_path / "words.txt"
    settings: dict[str, Any] = {"lexicon": {"files": [str(words)]}}
    layout = RowLayout.of("gnomon" if change == "layout" else "")
    if change == "settings":
        settings["near_duplicates"] = "off"
    if change == "data":
        os.utime(source)
        source.write_text(source.read_text("utf-8").replace("Question 1?", "Question x?"), "utf-8")
    if change == "lexicon":
        words.write_text("darn\n")
    if change == "layout":  # the same layout, named by the user
        assert clean_file(source, stopped, settings, layout=layout).rows == 100
        return
    part = "other data" if change == "data" else "other filters"
    with pytest.raises(ConfigError, match=f"an interrupted cleaning with {part}; run"):
        clean_file(source, stopped, settings, layout=layout)
    assert work_path(stopped).exists()
    report = clean_file(source, stopped, settings, layout=layout, overwrite=True)
    assert report.rows == 100
    assert not work_path(stopped).exists()


def test_a_touched_file_is_the_same_data(
    source: Path, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = source.read_bytes()
    source.unlink()
    source.write_bytes(copy)
    settings = {"lexicon": {"files": [str(tmp_path / "words.txt")]}}
    sizes: list[int] = []

    def write(path: Path, checked: Any, *rest: Any) -> Any:
        sizes.append(len(checked))
        return write_block(path, checked, *rest)

    monkeypatch.setattr(file_checks, "write_block", write)
    clean_file(source, stopped, settings)
    assert sum(sizes) == 100 - 48


def test_an_equal_copy_elsewhere_is_the_same_data(
    source: Path, whole: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No output but the report has the path of the data."""
    out, copy = tmp_path / "again" / "clean.jsonl", tmp_path / "deep" / "copy.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(source.read_bytes())
    with stopped_at(50), pytest.raises(Interrupted):
        clean_file(source, out, SETTINGS, jobs=1)
    clean_file(copy, out, SETTINGS, jobs=1)
    assert "going on after 48 checked rows" in capsys.readouterr().err
    content = written(out.parent)
    assert content["report"].pop("source") == str(copy)
    assert content["report"] == {key: value for key, value in whole["report"].items() if key != "source"}
    assert all(content[name] == whole[name] for name in FILES[:3])


@contextmanager
def changed_at(count: int, change: Callable[[], None], stop: bool) -> Iterator[None]:
    """Change the data when that many rows are read, and stop there if asked to."""

    def rows_of_both(*arguments: Any) -> Iterator[Any]:
        for number, row in enumerate(own_rows(*arguments)):
            if number == count:
                change()
                if stop:
                    raise KeyboardInterrupt
            yield row

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_checks, "own_rows", rows_of_both)
        yield


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("pattern", [False, True])
def test_a_file_that_is_edited_while_it_is_read_is_refused(
    source: Path, tmp_path: Path, stop: bool, pattern: bool
) -> None:
    out = tmp_path / "out" / "clean.jsonl"

    def edit() -> None:
        with source.open("r+b") as file:
            file.write(b"{")  # the same byte: the file counts as written

    with (
        changed_at(50, edit, stop),
        pytest.raises(DataError, match=r"rows\.jsonl changed while it was read, and no row of it was kept; run"),
    ):
        clean_file(tmp_path / "r*.jsonl" if pattern else source, out, SETTINGS, jobs=1)
    assert list(out.parent.iterdir()) == []


def test_a_file_that_grows_is_read_up_to_its_size(source: Path, whole: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "again" / "clean.jsonl"

    def append() -> None:
        with source.open("a") as file:
            file.write(json.dumps(pair("Late?", "Late.", "No")) + "\n")

    with changed_at(50, append, stop=False):
        clean_file(source, out, SETTINGS, jobs=1)
    assert written(out.parent) == whole


def test_existing_files_are_refused_after_a_stop_too(source: Path, stopped: Path, tmp_path: Path) -> None:
    (tmp_path / "rejected.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match=r"rejected.jsonl exists; give another --out, or --overwrite"):
        clean_file(source, stopped, {"lexicon": {"files": [str(tmp_path / "words.txt")]}})
    assert work_path(stopped).exists()
    assert (tmp_path / "rejected.jsonl").read_text() == "mine"


def test_an_error_of_the_data_leaves_nothing(tmp_path: Path) -> None:
    """Ratings at random agree by chance alone, which the filter finds after all rows are checked."""
    draws = [[1, 5], [5, 1], [3, 2], [2, 4], [4, 3]]
    write_rows(tmp_path / "r.jsonl", [{"id": str(n), "text": f"T{n}", "ratings": r} for n, r in enumerate(draws)])
    with pytest.raises(DataError, match="alpha of the ratings"):
        clean_file(tmp_path / "r.jsonl", tmp_path / "out" / "clean.jsonl", {"agreement": "drop"})
    assert list((tmp_path / "out").iterdir()) == []


def test_after_a_full_disk_it_goes_on(
    source: Path, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, sync, init = tmp_path / "again" / "clean.jsonl", os.fsync, CheckedRows.__init__

    def full_at_once(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full(handle: int) -> None:
        if sum(path.suffix == ".rows" for path in out.parent.rglob("*")) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    sentence = (
        f"no space is left on the disk that holds {out.parent}, and 48 checked rows are kept to go on from; "
        "free some and run the same command again."
    )
    with pytest.raises(DiskFullError) as error, translate_disk_full("elsewhere"):
        clean_file(source, out, SETTINGS, jobs=1)
    assert str(error.value) == sentence
    monkeypatch.setattr(CheckedRows, "__init__", full_at_once)
    with pytest.raises(DiskFullError) as error:
        clean_file(source, out, SETTINGS, jobs=1)
    assert str(error.value) == sentence
    monkeypatch.setattr(CheckedRows, "__init__", init)
    monkeypatch.setattr(os, "fsync", sync)
    assert sorted(path.suffix for path in out.parent.rglob("*.*")) == [
        ".json",
        ".jsonl",
        ".rows",
        ".rows",
        ".work",
    ]
    clean_file(source, out, SETTINGS)
    assert written(out.parent) == whole


@pytest.mark.parametrize("name", ["clean.jsonl", "deep/clean.jsonl"])
def test_a_disk_that_is_full_from_the_start_keeps_no_row(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError) as error:
        clean_file(source, Path(name))
    assert str(error.value) == (
        f"no space is left on the disk that holds {Path(name).absolute().parent}, and no checked row was kept; "
        "free some and run the same command again."
    )
    assert [path for path in Path().rglob("*") if path.is_file()] == []


def test_a_file_of_which_no_row_is_left_is_refused_after_a_stop_too(source: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "again" / "clean.jsonl", {"length": {"min_characters": 10**6}}
    with stopped_at(50), pytest.raises(Interrupted):
        clean_file(source, out, settings)
    with pytest.raises(DataError, match="no row is left of 100;"):
        clean_file(source, out, settings)
    assert len(lines(out.parent / "rejected.jsonl")) == 100
    assert not work_path(out).exists()


def test_a_damaged_block_costs_its_rows_and_the_later_ones(
    source: Path, whole: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "again" / "clean.jsonl"
    with stopped_at(90), pytest.raises(Interrupted, match="after 88 checked rows"):
        clean_file(source, out, SETTINGS)
    block = work_path(out) / "000001.rows"
    content = bytearray(block.read_bytes())
    content[-1] ^= 1
    block.write_bytes(content)
    clean_file(source, out, SETTINGS)
    assert "going on after 24 checked rows" in capsys.readouterr().err
    assert written(out.parent) == whole


def test_a_pipe_cannot_be_resumed_and_the_sentence_says_so(source: Path, tmp_path: Path) -> None:
    pipe, out = tmp_path / "pipe", tmp_path / "out" / "clean.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(source.read_bytes()))
    writer.start()
    sentence = f"stopped; the pipe {pipe} cannot be resumed, so write its content to a file and clean that"
    with stopped_at(50), pytest.raises(Interrupted, match=sentence):
        clean_file(pipe, out)
    writer.join()
    assert list(out.parent.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from gnomon.data.quality import file_checks
from gnomon.data.quality.clean import clean_file

file_checks.SHARD, file_checks.BLOCK_ROWS, file_checks.BLOCK_SECONDS = 8, 24, 1e6
source, folder, jobs, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
replace = os.replace


def start(out: Path, at: int) -> int:
    '''Clean in a process that is killed before it gives a file its name for the `at`-th time.'''
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    names = 0

    def counted(*arguments, **more):
        nonlocal names
        names += 1
        if names == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(*arguments, **more)

    os.replace = counted
    clean_file(source, out, {"margin": {"min_margin": 1}, "refusals": "report"}, jobs=jobs)
    os._exit(0)


for at in range(1, 100, step):
    out = folder / str(at) / "clean.jsonl"
    code = start(out, at)
    if code == 0:
        break
    assert code == -signal.SIGKILL, code
    assert start(out, 0) == 0
print(at)
"""


@pytest.mark.long
@pytest.mark.parametrize(("jobs", "step"), [(1, 1), (2, 3)])
def test_killed_before_a_file_gets_its_name_the_same_call_ends_it(
    source: Path, whole: dict[str, Any], tmp_path: Path, jobs: int, step: int
) -> None:
    """The names: the key, five blocks, the record of the outputs, and the five outputs."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, source, tmp_path / "killed", str(jobs), str(step)],
        check=True,
        capture_output=True,
        text=True,
    )
    count = int(done.stdout)
    assert count == 1 + 5 + 1 + 5 + 1
    for at in range(1, count + 1, step):
        folder = tmp_path / "killed" / str(at)
        assert written(folder) == whole
        assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "report.txt"]), at
        assert len(lines(folder / "clean.jsonl")) + len(lines(folder / "rejected.jsonl")) == 100


def living(group: int) -> list[list[str]]:
    """The commands of the processes of a group that have not ended."""
    commands = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                commands.append(process.cmdline())
    return commands


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "timeout"])
def test_a_signal_to_all_processes_ends_the_command_with_one_sentence(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A terminal, `timeout` and job schedulers send their signal to every process of the command."""
    source, out = tmp_path / "rows.jsonl", tmp_path / "out" / "clean.jsonl"
    write_rows(source, [pair(f"Question {n}?", f"Answer {n * 7919}. " * 20) for n in range(20_000)])
    command = [sys.executable, "-m", "gnomon", "data", "clean", str(source), "--out", str(out), "--jobs", "2"]
    settings = ["--filter", "near_duplicates=off", "--filter", "length_bias=off"]
    process = subprocess.Popen(
        [*command, *settings], start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.rglob("*.rows")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, number)
    printed, error = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    last = error.strip().splitlines()[-1]
    assert last.startswith("stopped after ")
    assert last.endswith(" checked rows; run the same command again to go on from there.")
    assert "Traceback" not in error
    deadline = time.monotonic() + 20
    while living(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert living(process.pid) == []
    again = subprocess.run([*command, *settings], capture_output=True, text=True, check=True)
    assert f"going on after {last.split()[2]} checked rows" in again.stderr
    assert "20,000 rows = 20,000 clean + 0 rejected" in again.stdout
