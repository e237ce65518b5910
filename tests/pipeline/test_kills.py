"""Killed at random moments, from the first import on: the next start goes on, and leaves no leftovers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from leftover_names import is_leftover_name
from project import Project, command, environment, write_rows

from gnomon.core.storage.files import read_json
from gnomon.core.storage.folder_lock import NAME

RUN = [
    "training.checkpoint_seconds=0",
    "training.models_every=2",
    "sft.training.epochs=4",
    "aligned.training.steps=4",
]
KILLS = 8


def left_behind(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if is_leftover_name(path.name) or path.name == NAME]


def kill_after(seconds: float, arguments: list[str], folder: Path, number: signal.Signals) -> bool:
    """Start a command and kill it; whether it was still at work."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), cwd=folder
    )
    try:
        process.wait(seconds)
        ended = True
    except subprocess.TimeoutExpired:
        ended = False
        process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert b"Traceback" not in err, err.decode()
    return not ended


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_at_random_moments(project: Project, finished: Project) -> None:
    seed = int(os.environ.get("GNOMON_KILL_SEED", time.time_ns() % 10**6))
    print(f"GNOMON_KILL_SEED={seed}", file=sys.stderr)
    chance, whole = random.Random(seed), Project(finished.folder / "whole", finished.recipe)
    whole.go(*RUN)
    arguments = ["run", str(project.recipe), f"run={project.run}", *RUN]
    started = time.monotonic()
    subprocess.run(command(*arguments, f"run={project.folder / 'timed'}"), env=environment(), check=True)
    seconds = time.monotonic() - started
    for _ in range(KILLS):
        number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        kill_after(chance.uniform(0, seconds), arguments, project.folder, number)
    project.go(*RUN)
    assert not left_behind(project.run)
    assert not list(project.run.rglob("*.1"))
    assert not list(project.run.glob("*/checkpoints"))
    for stage in ("sft", "judge", "aligned"):
        assert project.metrics(stage) == whole.metrics(stage)
    names = {path.relative_to(whole.run).as_posix() for path in whole.run.rglob("*")}
    assert {path.relative_to(project.run).as_posix() for path in project.run.rglob("*")} == names


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_export_that_is_killed_at_random_moments(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"prompt": f"q{n}", "completions": ["aaa", "b"]} for n in range(3000)])
    for line in (
        ["feedback", "init", "f.db", "--project", "tone", "--title", "x"],
        ["feedback", "import", "f.db", "rows.jsonl"],
        ["feedback", "auto-annotate", "f.db", "--annotator", "rule:longer"],
    ):
        subprocess.run(command(*line), cwd=tmp_path, env=environment(), check=True, capture_output=True)
    chance = random.Random(7)
    export = ["feedback", "export", "f.db", "--out", "data"]
    started = time.monotonic()
    subprocess.run(command(*export), cwd=tmp_path, env=environment(), check=True, capture_output=True)
    seconds = time.monotonic() - started
    formats = ("jsonl", "parquet", "datasets")
    for kill in range(KILLS):
        arguments = [*export, "--format", formats[kill % 3]]
        kill_after(chance.uniform(0.3 * seconds, 1.1 * seconds), arguments, tmp_path, signal.SIGKILL)
    done = subprocess.run(command(*export), cwd=tmp_path, env=environment(), check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    manifest = read_json(tmp_path / "data" / "manifest.json")
    assert {path.name for path in (tmp_path / "data").iterdir()} == {*manifest["files"], "manifest.json"}
