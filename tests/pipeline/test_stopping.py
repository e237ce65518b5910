"""Stopped runs go on to the same numbers, whether by Ctrl-C or killed; what a stop leaves behind is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from project import Project, command, environment
from safetensors.torch import load_file

from gnomon.core.errors import Interrupted
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.training.runtime.loop import TrainingLoop

LONG = {
    "sft": ["sft.training.epochs=15"],
    "aligned": ["aligned.training.steps=20", "aligned.sampling.max_tokens=12"],
}
LONG["both"] = LONG["sft"] + LONG["aligned"]


def weights(project: Project, stage: str) -> dict[str, torch.Tensor]:
    return load_file(project.run / stage / "model" / "model.safetensors")


def assert_same(a: Project, b: Project, stages: list[str]) -> None:
    for stage in stages:
        assert a.metrics(stage) == b.metrics(stage)
        first, second = weights(a, stage), weights(b, stage)
        assert all(torch.equal(first[name], second[name]) for name in first | second)
    samples = [list(read_jsonl(p.run / "aligned" / "samples.jsonl")) for p in (a, b)]
    assert samples[0] == samples[1]


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ctrl-C, as it were, after so many steps in all."""

    def at(step: int) -> None:
        taken = 0
        whole = TrainingLoop.after_step

        def counted(self: TrainingLoop, step_now: int, planned: int) -> None:
            nonlocal taken
            taken += 1
            if taken == step:
                os.kill(os.getpid(), signal.SIGINT)
            whole(self, step_now, planned)

        monkeypatch.setattr(TrainingLoop, "after_step", counted)

    return at


@pytest.mark.long
@pytest.mark.parametrize(
    ("step", "stage", "where"), [(2, "sft", "2 of 6"), (7, "judge", "1 of 2"), (9, "aligned", "1 of 2")]
)
def test_a_stop_in_any_stage_resumes_to_the_same_numbers(
    finished: Project, tmp_path: Path, stopping: Callable[[int], None], step: int, stage: str, where: str
) -> None:
    stopped = Project(tmp_path, finished.recipe)
    stopping(step)
    with pytest.raises(Interrupted, match=f"stopped after step {where} and saved; run the same command again"):
        stopped.go()
    folder = stopped.run / stage
    assert not (folder / "result.json").exists()
    assert not (folder / "model").exists()
    (checkpoint,) = (folder / "checkpoints").iterdir()
    assert {p.name for p in checkpoint.iterdir()} == {
        "weights.safetensors",
        "optimizer.safetensors",
        "state.json",
    }
    stopping(10**9)
    stopped.go()
    assert_same(stopped, finished, ["sft", "judge", "aligned"])
    assert not (folder / "checkpoints").exists()
    assert not (stopped.run / f"{stage}.1").exists()


@pytest.mark.long
def test_a_stop_at_each_step_still_ends(
    finished: Project, tmp_path: Path, stopping: Callable[[int], None]
) -> None:
    stopped = Project(tmp_path, finished.recipe)
    for _ in range(50):
        stopping(1)
        try:
            stopped.go()
        except Interrupted:
            continue
        break
    assert_same(stopped, finished, ["sft", "judge", "aligned"])


def test_a_changed_setting_does_not_resume_what_was_stopped(
    finished: Project, tmp_path: Path, stopping: Callable[[int], None]
) -> None:
    stopped = Project(tmp_path, finished.recipe)
    stopping(2)
    with pytest.raises(Interrupted):
        stopped.go("sft.training.learning_rate=0.5")
    stopping(10**9)
    stopped.go()
    assert_same(stopped, finished, ["sft", "judge", "aligned"])
    assert (stopped.run / "sft.1" / "checkpoints").exists()


def start(project: Project, *overrides: str) -> subprocess.Popen[str]:
    arguments = ["run", str(project.recipe), f"run={project.run}", "training.checkpoint_seconds=0", *overrides]
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environment()
    )


def wait_for_steps(process: subprocess.Popen[str], metrics: Path, count: int) -> None:
    for _ in range(3000):
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= count:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    raise AssertionError(f"no {count} steps in {metrics}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, finished: Project) -> Callable[[str], Project]:
    """A run with a long stage that nobody stopped, made once."""
    made: dict[str, Project] = {}

    def of(stage: str) -> Project:
        if stage not in made:
            made[stage] = Project(tmp_path_factory.mktemp("whole"), finished.recipe)
            made[stage].go("training.checkpoint_seconds=0", *LONG[stage])
        return made[stage]

    return of


@pytest.mark.long
@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("sft", signal.SIGTERM),
        ("aligned", signal.SIGINT),
        ("aligned", signal.SIGKILL),
    ],
)
def test_a_real_signal_to_a_real_process(
    finished: Project, whole: Callable[[str], Project], tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    """In the middle of training; then the same command again, to the numbers of a run that nobody stopped."""
    stopped = Project(tmp_path, finished.recipe)
    folder = stopped.run / stage
    process = start(stopped, *LONG[stage])
    wait_for_steps(process, folder / "metrics.jsonl", 3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "stopped after step" in err
        assert "run the same command again to go on" in err
        assert "Traceback" not in err
    assert not (folder / "result.json").exists()
    assert (folder / "metrics.jsonl").read_bytes().count(b"\n") >= 3
    if number == signal.SIGKILL:  # a kill may cut a line short
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write('{"step": 99, "loss": 1.')

    stopped.go("training.checkpoint_seconds=0", *LONG[stage])
    assert not (stopped.run / f"{stage}.1").exists(), "it went on; it did not start again"
    assert_same(stopped, whole(stage), ["sft", "judge", "aligned"])
    results = [{**read_json(p.run / "report" / "result.json"), "seconds": 0} for p in (stopped, whole(stage))]
    assert results[0] == results[1]


@pytest.mark.long
def test_five_kills_at_random_moments(finished: Project, whole: Callable[[str], Project], tmp_path: Path) -> None:
    """Wherever they fall, in a step or while a checkpoint is written: the numbers are those of a whole run."""
    chance = random.Random()
    stopped = Project(tmp_path, finished.recipe)
    logs = [stopped.run / stage / "metrics.jsonl" for stage in ("sft", "aligned")]
    for kill in range(5):
        process = start(stopped, *LONG["both"])
        wait_for_steps(process, logs[kill // 3], 1 + 3 * (kill % 3))
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate(timeout=60)
    stopped.go("training.checkpoint_seconds=0", *LONG["both"])
    assert not list(stopped.run.glob("*.1")), "it went on; it did not start again"
    assert_same(stopped, whole("both"), ["sft", "judge", "aligned"])
