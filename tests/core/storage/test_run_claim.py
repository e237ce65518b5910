"""Run folders: other files stay, one process at a time, and a refusal leaves no files behind."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from leftover_names import is_leftover_name
from project import Project, Ran, command, environment

from gnomon.core.errors import BusyError, ConfigError, DataError, GnomonError, ModelError, RunError
from gnomon.core.storage.folder_lock import NAME, FolderLock
from gnomon.core.storage.run_claim import RunClaim, remove_worthless
from gnomon.core.storage.sealed_files import RUN_FILES, is_sealed
from gnomon.reporting.run_report import write_report


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; of a link what it leads to."""
    return {
        path.relative_to(folder).as_posix(): bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def short(project: Project) -> Project:
    """A project of one stage."""
    content = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    content["stages"] = content["stages"][:1]
    project.recipe.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return project


@pytest.mark.parametrize(
    "foreign", ["config.yaml", "report.html", "sft/thesis.txt", "environment.json", "photo.png"]
)
def test_a_folder_that_is_no_run_is_refused_before_a_byte_is_written(short: Project, foreign: str) -> None:
    path = short.run / foreign
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    before = contents(short.folder)
    with pytest.raises(
        RunError, match=rf"holds {Path(foreign).parts[0]}, which no run of Gnomon wrote; set run to"
    ):
        short.go()
    assert contents(short.folder) == before


def test_inputs_and_hidden_files_may_be_in_the_run_folder(short: Project) -> None:
    (short.run / "data").mkdir(parents=True)
    (short.run / ".gitignore").write_text("*")
    (short.folder / "demonstrations.jsonl").rename(short.run / "data" / "rows.jsonl")
    short.recipe.rename(short.run / "recipe.yaml")
    moved = Project(short.folder, short.run / "recipe.yaml")
    moved.go(f"sft.data={short.run / 'data' / 'rows.jsonl'}")
    assert (short.run / ".gitignore").read_text() == "*"
    assert (short.run / "report.html").exists()


@pytest.mark.parametrize(
    ("command", "override"),
    [
        ("run", "model.name=nobody/nothing"),
        ("run", "judge.model=nobody/nothing"),
        ("run", "report.evaluate=[sft,nobody/nothing]"),
        ("compare", "model.name=nobody/nothing"),
        ("compare", "judge.model=nobody/nothing"),
    ],
)
def test_a_model_that_is_not_to_be_had_is_refused_before_the_first_stage(
    project: Project, ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, command: str, override: str
) -> None:
    """Also one that a later stage needs: nothing is trained, and no folder stays."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = contents(project.folder)
    out = ("--algorithms", "ppo", "--out", str(project.folder / "bench")) if command == "compare" else ()
    code, _, err = ask(command, str(project.recipe), *out, override)
    assert code == 2
    assert "no model folder 'nobody/nothing'" in " ".join(err.split())
    assert "1/4" not in err
    assert contents(project.folder) == before
    assert not project.run.exists()
    assert not (project.folder / "bench").exists()


@pytest.mark.parametrize("name", RUN_FILES)
def test_an_edited_file_of_a_run_is_not_replaced(copied: Project, name: str) -> None:
    path = copied.run / name
    path.write_text(path.read_text(encoding="utf-8").replace("1", "2", 1), encoding="utf-8")
    before = contents(copied.run)
    with pytest.raises(RunError, match=rf"{name} is not as Gnomon wrote it, and would be replaced; move it away"):
        copied.go()
    assert contents(copied.run) == before
    path.rename(copied.folder / name)
    if name != "environment.json":  # without which it is no run
        copied.go()
        assert is_sealed(path)


def test_a_report_is_not_written_over_somebodys_own(tmp_path: Path, copied: Project) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "config.yaml").write_text("title: my site\n")
    (tmp_path / "site" / "report.html").write_text("mine")
    with pytest.raises(RunError, match=r"report\.html is not as Gnomon wrote it"):
        write_report(tmp_path / "site")
    assert (tmp_path / "site" / "report.html").read_text() == "mine"
    write_report(copied.run, language="zh")
    write_report(copied.run)


def test_links_are_not_followed_out_of_the_folder(copied: Project) -> None:
    outside = copied.folder / "outside"
    outside.mkdir()
    (copied.run / "config.yaml").rename(outside / "config.yaml")
    (copied.run / "config.yaml").symlink_to(outside / "config.yaml")
    before = contents(outside)
    with pytest.raises(RunError, match=r"config\.yaml is not as Gnomon wrote it"):
        copied.go()
    (copied.run / "config.yaml").unlink()
    (copied.run / "judge").rename(outside / "judge")
    (copied.run / "judge").symlink_to(outside / "judge")
    copied.run.rename(copied.folder / "real")
    copied.run.symlink_to(copied.folder / "real")
    copied.go("judge.training.learning_rate=0.02")
    assert (copied.run / "judge.1").is_symlink()
    assert contents(outside / "judge")
    assert contents(outside)["config.yaml"] == before["config.yaml"]


def test_a_run_of_a_version_without_digests_is_resumed(copied: Project) -> None:
    for name in RUN_FILES:
        path = copied.run / name
        if name.endswith(".json"):
            result = json.loads(path.read_text())
            del result["record_digest"]
            path.write_text(json.dumps(result))
        else:
            path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]))
    copied.go()
    assert not list(copied.run.glob("*.1"))
    assert all(is_sealed(copied.run / name) for name in RUN_FILES)


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("sft.trainable.layers=7", ModelError),
        ("sft.training.max_tokens=3", DataError),
        ("model.chat_template=absent.jinja", ConfigError),
    ],
)
def test_a_refused_command_leaves_no_files(
    short: Project, copied: Project, override: str, error: type[GnomonError]
) -> None:
    """Neither a new folder, nor in an old one a change."""
    before = contents(short.folder)
    with pytest.raises(error):
        short.go(override, f"run={short.folder / 'deep' / 'run'}")
    assert contents(short.folder) == before
    assert not (short.folder / "deep").exists()
    before = contents(copied.run)
    with pytest.raises(error):
        copied.go(override)
    assert contents(copied.run) == before


def test_stages_before_a_refused_one_stay(project: Project) -> None:
    with pytest.raises(ModelError, match=r"lacks the weight model\.layers\.3"):
        project.go("judge.num_layers=9")
    assert (project.run / "sft" / "result.json").exists()
    assert not (project.run / "judge").exists()
    assert (project.run / "config.yaml").exists()


def test_work_is_never_worthless(tmp_path: Path) -> None:
    for name in ("stage.json", "rejected.jsonl", "tensorboard/events.out.tfevents.1"):
        (tmp_path / "stage" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "stage" / name).write_text("x")
    for name in ("metrics.jsonl", "checkpoints/00000001/state.json", "notes.txt", "model/config.json"):
        path = tmp_path / "stage" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("x")
        assert not remove_worthless(tmp_path / "stage")
        path.unlink()
    (tmp_path / "stage" / "metrics.jsonl").write_text("")
    assert remove_worthless(tmp_path / "stage")
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(short: Project) -> None:
    with FolderLock(short.run, "run folder"), pytest.raises(BusyError, match="is in use by process"):
        short.go()
    short.go()
    assert not (short.run / NAME).exists()


def test_leftovers_of_a_kill_go_at_the_next_start(copied: Project) -> None:
    (copied.run / "aligned" / "result.json").unlink()
    (copied.run / "aligned" / "checkpoints").mkdir()
    for folder in (copied.run, copied.run / "sft", copied.run / "aligned" / "checkpoints"):
        (folder / ".gnomon-abcdefgh.part").write_text("half")
        (folder / ".gnomon-abcdefgh.parts").mkdir()
        (folder / ".gnomon-abcdefgh.parts" / "weights").write_text("half")
    (copied.run / "aligned" / "checkpoints" / "00000001").mkdir()  # one whose removal was cut short
    (copied.run / "aligned" / "checkpoints" / "00000001" / "weights.safetensors").write_text("old")
    copied.go()
    assert not [path for path in copied.run.rglob("*") if is_leftover_name(path.name)]
    assert not (copied.run / "aligned" / "checkpoints").exists()


def test_rows_of_a_program_are_set_aside_where_they_changed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for content in (b"1", b"1", b"2"):
        with RunClaim(folder, ["sft"], [folder / "data.jsonl"]) as claim:
            claim.write_input("data.jsonl", content)
    assert contents(folder) == {"data.jsonl": b"2", "data.jsonl.1": b"1"}


def start(project: Project, *overrides: str) -> subprocess.Popen[str]:
    arguments = ["run", str(project.recipe), f"run={project.run}", *overrides]
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environment()
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(15_000):
        if condition():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    raise AssertionError("it never came to that")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("harm", ["moved", "removed"])
def test_a_removed_folder_ends_the_run_with_a_sentence(short: Project, harm: str) -> None:
    """A second process is refused meanwhile; no folder appears again in the old place."""
    import shutil

    process = start(short, "sft.training.epochs=2000", "training.checkpoint_seconds=0")
    metrics = short.run / "sft" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= 3, process)
    with pytest.raises(BusyError, match=f"is in use by process {process.pid} since"):
        short.go()
    short.run.rename(short.folder / "moved")
    if harm == "removed":
        shutil.rmtree(short.folder / "moved")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert "was moved or removed while this process used it" in err
    assert "Traceback" not in err
    assert not short.run.exists()
    if harm == "moved":
        (short.folder / "moved").rename(short.run)
        short.go("sft.training.epochs=2000", "training.checkpoint_seconds=0", "sft.training.budget_seconds=0.1")


def handles(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    mask = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(mask >> (number - 1) & 1)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("seconds", "number"), [(0.0, signal.SIGTERM), (1.0, signal.SIGINT), (4.0, signal.SIGTERM)]
)
def test_an_early_stop_ends_like_a_later_one(short: Project, seconds: float, number: signal.Signals) -> None:
    """During imports, start-up or loading: one sentence, the status of a stop, and nothing half-written."""
    process = start(short, "sft.training.epochs=3000")
    wait_until(lambda: handles(process, signal.SIGTERM), process)
    time.sleep(seconds)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "stopped" in err
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert not [p for p in short.run.rglob("*") if is_leftover_name(p.name) or p.name == NAME]
