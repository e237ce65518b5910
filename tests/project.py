"""A whole project in miniature: a random model in a folder, a user's own data and recipe; and its fixtures."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from gnomon.cli.main import main
from gnomon.core.storage.files import read_jsonl
from gnomon.models.tiny_random import RandomModel
from gnomon.pipeline.recipe import load_recipe
from gnomon.pipeline.run import run_recipe

Ran = tuple[int, str, str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
# Each step turns every weight around, ever larger, until the loss is no number.
DIVERGING = [
    "model.adapter=none",
    "sft.training.learning_rate=10",
    "sft.training.weight_decay=100",
    "sft.training.epochs=20",
    "sft.training.schedule=constant",
]
TIMES = {"time", "tokens_per_second", "sampling_seconds", "experience_seconds", "update_seconds"}


def write_rows(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_data(folder: Path) -> None:
    """What a user brings: plain texts, one object a line."""
    films = ["Solaris", "Stalker", "Playtime", "花样年华"]
    prompts = [f"How was {film}?" for film in films]
    write_rows(
        folder / "demonstrations.jsonl",
        [{"prompt": p, "completion": f"It was {word}."} for p in prompts for word in ("good", "long", "不错")],
    )
    write_rows(
        folder / "preferences.jsonl",
        [{"prompt": p, "chosen": f"A {a}!", "rejected": "No."} for p in prompts for a in ("joy", "delight")],
    )
    write_rows(folder / "prompts.jsonl", [{"prompt": p} for p in prompts])
    write_rows(
        folder / "texts.jsonl",
        [
            {"id": str(n), "text": f"Film {n} was {'good' if n % 2 else 'bad'}.", "ratings": [n % 2]}
            for n in range(6)
        ],
    )


@dataclass(frozen=True)
class Project:
    """A folder with data and a recipe."""

    folder: Path
    recipe: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def go(self, *overrides: str) -> Path:
        """Run the recipe in this process."""
        return run_recipe(load_recipe(self.recipe, [f"run={self.run}", *overrides]))

    def metrics(self, stage: str) -> list[dict[str, Any]]:
        """The rows of a stage's metrics without what a clock said."""
        rows = read_jsonl(self.run / stage / "metrics.jsonl")
        return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def recipe_for(folder: Path, model: Path) -> dict[str, Any]:
    training = {"micro_batch_tokens": 256, "learning_rate": 0.01, "warmup": 0}
    return {
        "run": str(folder / "run"),
        "seed": 3,
        "model": {"name": str(model), "rank": 2, "device": "cpu", "precision": "float32"},
        "training": training,
        "stages": [
            {
                "name": "sft",
                "algorithm": "sft",
                "data": str(folder / "demonstrations.jsonl"),
                "training": {"epochs": 2, "batch_size": 4},
            },
            {
                "name": "judge",
                "algorithm": "reward_model",
                "model": "sft",
                "num_layers": 2,
                "data": str(folder / "preferences.jsonl"),
                "training": {"batch_size": 2},
            },
            {
                "name": "aligned",
                "algorithm": "ppo",
                "model": "sft",
                "reward": "judge",
                "prompts": str(folder / "prompts.jsonl"),
                "training": {"steps": 2, "prompts_per_step": 3, "truncation_score": None},
                "sampling": {"completions": 2, "max_tokens": 6},
            },
            {
                "name": "report",
                "evaluate": ["base", "sft", "aligned"],
                "judges": ["judge", "vader"],
                "prompts": str(folder / "prompts.jsonl"),
                "texts": str(folder / "texts.jsonl"),
                "reference": "sft",
                "sampling": {"completions": 3, "max_tokens": 6},
            },
        ],
    }


def make_project(folder: Path, model: Path) -> Project:
    folder.mkdir(parents=True, exist_ok=True)
    write_data(folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(recipe_for(folder, model), allow_unicode=True), encoding="utf-8")
    return Project(folder, recipe)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gnomon", *arguments]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "HF_HUB_OFFLINE": "1",
        "PYTHONIOENCODING": "utf-8",
    }


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command line in this process: exit code, output, errors (unwrapped)."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object, typed: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["gnomon", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    RandomModel().write(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path) -> Project:
    """A project that nothing has been done in."""
    return make_project(tmp_path / "project", tiny_model)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Project:
    """A project that has been run; tests leave it as it is, or copy it."""
    made = make_project(tmp_path_factory.mktemp("finished") / "project", tiny_model)
    made.go()
    return made


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """The finished project with a run folder of its own."""
    shutil.copytree(finished.run, tmp_path / "run")
    return Project(tmp_path, finished.recipe)


@pytest.fixture
def gnomon(tmp_path: Path) -> Run:
    """The command line in a process of its own, as a user starts it."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            encoding="utf-8",
            env=environment(),
            cwd=tmp_path,
            timeout=500,
            check=False,
        )

    return run
