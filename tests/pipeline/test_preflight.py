"""What is missing is said before the first stage; full disks and crashes leave nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from project import DIVERGING, Project, command, environment
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gnomon.core.errors import ConfigError, DataError, DiskFullError, GnomonError, RunError, translate_disk_full
from gnomon.core.storage.files import read_json
from gnomon.models.tiny_random import RandomModel
from gnomon.pipeline import run as run_module
from gnomon.pipeline.preflight import check_inputs
from gnomon.pipeline.recipe import build_recipe
from gnomon.pipeline.single_stage import training_recipe
from gnomon.training.runtime import checkpoints
from gnomon.training.runtime.loop import TrainingLoop


@pytest.mark.parametrize(
    ("override", "error", "sentence"),
    [
        ("report.texts=absent.jsonl", DataError, r"no data at absent\.jsonl"),
        ("report.prompts=absent.jsonl", DataError, r"no data at absent\.jsonl"),
        ("aligned.prompts=absent.jsonl", DataError, r"no data at absent\.jsonl"),
        ("aligned.reward=absent.py:score", ConfigError, r"there is no file absent\.py"),
        ("report.judges=[absent.py:score]", ConfigError, r"there is no file absent\.py"),
        ("aligned.reward=python:lost", ConfigError, "was a function of a program, not of a file"),
    ],
)
def test_what_is_missing_is_said_before_the_first_stage(
    project: Project, override: str, error: type[GnomonError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        project.go(override)
    assert not project.run.exists()


@pytest.mark.parametrize(
    ("key", "row", "sentence"),
    [
        ("aligned.prompts", {"promt": "Write."}, "no 'prompt' in it"),
        ("report.texts", {"completion": "Good."}, "no 'prompt' in it"),
        ("judge.data", {"prompt": "Write.", "chosn": "a", "rejected": "b"}, "no 'chosen' in it"),
    ],
)
def test_rows_that_are_wrong_are_said_before_the_first_stage(
    project: Project, key: str, row: dict[str, str], sentence: str
) -> None:
    """Of the whole file: the wrong row is its last."""
    right = {"prompt": "Write.", "completion": "Good.", "chosen": "Good.", "rejected": "Bad."}
    file = project.folder / "own.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in (right, right, row)), encoding="utf-8")
    with pytest.raises(DataError, match=rf"own\.jsonl, line 3: .*{sentence}"):
        project.go(f"{key}={file}")
    assert not project.run.exists()


def test_a_stage_in_which_nothing_was_done_leaves_no_folder_behind(project: Project) -> None:
    """Only what was done is kept under a number."""
    for rate in (8, 9, 10):
        with pytest.raises(RunError):
            project.go(*DIVERGING, f"sft.training.learning_rate={rate}")
        shutil.rmtree(project.run / "sft")
        (project.run / "sft").mkdir()
        (project.run / "sft" / "stage.json").write_text('{"key": "another"}', encoding="utf-8")
    assert [path.name for path in project.run.glob("sft*")] == ["sft"]


def test_the_environment_is_there_from_the_start(project: Project) -> None:
    with pytest.raises(RunError):
        project.go(*DIVERGING)
    found = read_json(project.run / "environment.json")
    assert found["seed"] == 3
    assert found["data"] == {}


def test_settings_that_change_no_number_restart_nothing(copied: Project) -> None:
    copied.go("training.micro_batch_tokens=512", "training.checkpoint_seconds=1", "training.models_every=1")
    assert not list(copied.run.glob("*.1"))


def test_the_resolved_configuration_restarts_nothing(copied: Project) -> None:
    copied.go()
    Project(copied.folder, copied.run / "config.yaml").go()
    assert not list(copied.run.glob("*.1"))


def test_a_crash_before_the_checkpoints_are_removed_restarts_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "remove_checkpoints", crash)
        with pytest.raises(ZeroDivisionError):
            project.go("training.checkpoint_seconds=0")
    assert (project.run / "sft" / "checkpoints").exists()
    written = (project.run / "sft" / "result.json").stat().st_mtime_ns
    project.go("training.checkpoint_seconds=0")
    assert (project.run / "sft" / "result.json").stat().st_mtime_ns == written
    assert not list(project.run.rglob("checkpoints"))


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def wrapped() -> GnomonError:
    try:
        try:
            raise full()
        except OSError as error:
            raise DataError(f"cannot write x to the cache ({error}); set GNOMON_CACHE.") from None
    except DataError as found:
        return found


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (full, "no space is left on the disk that holds runs/x"),
        (lambda: OSError(errno.EDQUOT, "Disk quota exceeded"), "no space is left on the disk"),
        (
            lambda: SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "no space is left on the disk",
        ),
        (lambda: Exception("No space left on device (os error 28)"), "no space is left"),
        (wrapped, "cannot write x to the cache"),
    ],
)
def test_a_full_disk_is_said_however_it_shows_itself(make: Callable[[], Exception], sentence: str) -> None:
    with pytest.raises(DiskFullError, match=sentence) as found, translate_disk_full("runs/x"):
        raise make()
    assert found.value.exit_code == 3


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), ValueError("x"), DataError("no data.")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as found, translate_disk_full("runs/x"):
        raise error
    assert found.value is error


def test_a_disk_that_fills_up_in_a_checkpoint(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last whole checkpoint stays, and the same command goes on from it."""
    saved = 0

    def fill(tensors: dict[str, Tensor], path: Path) -> None:
        nonlocal saved
        saved += 1
        if saved > 4:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", fill)
        with pytest.raises(DiskFullError, match="free some and run the same command again"):
            project.go("training.checkpoint_seconds=0")
    assert [p.name for p in (project.run / "sft" / "checkpoints").iterdir()] == ["00000002"]
    began: list[int] = []
    whole = TrainingLoop.after_step

    def noted(self: TrainingLoop, step: int, planned: int) -> None:
        began.append(step)
        whole(self, step, planned)

    monkeypatch.setattr(TrainingLoop, "after_step", noted)
    project.go("training.checkpoint_seconds=0")
    assert began[0] == 3


@pytest.mark.long
@pytest.mark.slow
def test_a_real_disk_that_is_full(project: Project, tmp_path: Path) -> None:
    """A file system of 400 kB, in a mount namespace of its own; skipped where that is not allowed."""
    disk, inside = tmp_path / "disk", ["unshare", "-rm", "sh", "-c"]
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=400k none {disk}"
    if not shutil.which("unshare") or subprocess.run([*inside, mount], check=False).returncode:
        pytest.skip("no file system may be mounted here")
    gnomon = " ".join(command("run", str(project.recipe), f"run={disk}/run", "training.checkpoint_seconds=0"))
    partial = f"find {disk} -name '.*' -o -name 'partial-*' -o -name 'tmp*'"
    found = subprocess.run(
        [*inside, f"{mount} && {gnomon}; code=$?; {partial}; exit $code"],
        capture_output=True, encoding="utf-8", env=environment(), timeout=120, check=False,
    )  # fmt: skip
    assert found.returncode == 3, found.stderr
    assert f"no space is left on the disk that holds {disk}/run" in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == "", "nothing half-written is left"


@pytest.mark.parametrize(("reward", "reported"), [("rewards.py:score", False), ("vader", True)])
def test_columns_of_prompts_count_as_read_where_a_function_rewards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reward: str, reported: bool
) -> None:
    prompts, model = tmp_path / "prompts.jsonl", tmp_path / "base"
    prompts.write_text('{"prompt": "Write.", "difficulty": 3}\n', encoding="utf-8")
    RandomModel().write(model)
    stage = {"prompts": str(prompts), "reward": reward}
    recipe = training_recipe("rloo", model=str(model), run=str(tmp_path / "run"), stage=stage)
    check_inputs(recipe)
    assert ("not read: difficulty" in " ".join(capsys.readouterr().err.split())) == reported


@pytest.mark.parametrize("hybrid", [False, True], ids=["stages", "phases"])
def test_a_function_reads_columns_of_its_own_stage_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hybrid: bool
) -> None:
    """Of three files of prompts one is for a function, one for a lexicon, and one for both."""
    for name in ("function", "lexicon", "both"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "Write.", "difficulty": 3}\n', encoding="utf-8")
    RandomModel().write(tmp_path / "base")

    def part(name: str, reward: str) -> dict[str, object]:
        pools = {str(tmp_path / f"{file}.jsonl"): 1.0 for file in (name, "both")}
        training = {"steps": 1, "prompts_per_step": 1}
        return {"algorithm": "rloo", "prompts": pools, "reward": reward, "training": training}

    parts = [part("function", "rewards.py:score"), part("lexicon", "vader")]
    stages = (
        [{"name": "all", "phases": parts}] if hybrid else [{"name": f"s{i}", **p} for i, p in enumerate(parts)]
    )
    model = {"name": str(tmp_path / "base"), "device": "cpu"}
    check_inputs(build_recipe({"run": str(tmp_path / "run"), "model": model, "stages": stages}, "made here"))
    lines = " ".join(capsys.readouterr().err.split())
    assert "lexicon.jsonl: read as prompts; not read: difficulty" in lines
    assert lines.count("not read") == 1
