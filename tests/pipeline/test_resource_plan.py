"""What `gnomon run --dry-run` foretells, and that it trains nothing and leaves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from project import Project, Ran

import gnomon
from gnomon.core.errors import DataError
from gnomon.core.progress import format_duration
from gnomon.core.storage.files import read_json
from gnomon.training.offline.loop import OfflineLoop
from gnomon.training.online.loop import OnlineLoop

FORETOLD = "import gnomon, json, sys; p = gnomon.plan(*sys.argv[1:]); print(json.dumps([p.peak_gb, p.seconds]))"


def test_every_stage_is_foretold_and_nothing_is_trained(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a plan trains nothing")

    monkeypatch.setattr(OfflineLoop, "step", never)
    monkeypatch.setattr(OnlineLoop, "step", never)
    before = sorted(project.folder.rglob("*"))
    plan = gnomon.plan(project.recipe)
    assert sorted(project.folder.rglob("*")) == before
    stages = {stage.name: stage for stage in plan.stages}
    assert list(stages) == ["sft", "judge", "aligned", "report"]
    total, learning = stages["sft"].parameters
    assert total >= learning > 0
    for stage in plan.stages:
        assert stage.bytes["process"] > 1e8
        assert 0 < stage.bytes["weights"] < 1e8
        assert stage.peak < sum(stage.bytes.values()) + 1
        assert stage.seconds > 0
        assert stage.tokens_per_second > 0
    assert stages["sft"].bytes["activations"] > 0 == stages["sft"].bytes["sampling"]
    assert stages["aligned"].bytes["sampling"] > 0
    assert plan.peak_gb == max(stage.peak for stage in plan.stages) / 1e9


def test_on_the_command_line(ask: Callable[..., Ran], project: Project) -> None:
    code, _, err = ask("run", project.recipe, "--dry-run")
    assert code == 0, err
    words = " ".join(err.split())
    assert "trying each stage on a few tokens; nothing is trained" in words
    assert "aligned: ppo" in words
    assert "GB (process " in words
    assert not project.run.exists()


def test_phases_are_listed_one_by_one(project: Project) -> None:
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    stage = recipe["stages"].pop(2)
    dpo = {"name": "warm", "algorithm": "dpo", "data": "preferences.jsonl", "training": {"epochs": 1}}
    main = {k: v for k, v in stage.items() if k not in ("name", "model")} | {"name": "main"}
    data = str(project.folder / "preferences.jsonl")
    recipe["stages"].insert(2, {"name": "aligned", "model": "sft", "phases": [{**dpo, "data": data}, main]})
    project.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    names = [found.name for found in gnomon.plan(project.recipe).stages]
    assert names == ["sft", "judge", "aligned/warm", "aligned/main", "report"]


def test_missing_data_are_said_as_by_a_run(project: Project) -> None:
    (project.folder / "preferences.jsonl").unlink()
    with pytest.raises(DataError, match="no data at"):
        gnomon.plan(project.recipe)


def test_times_are_said_in_the_unit_that_suits_them() -> None:
    assert [format_duration(s) for s in (5.4, 600, 9000)] == ["5 s", "10 min", "2.5 h"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("recipes/smoke.yaml", []),
        ("recipes/film-reviews.yaml", ["sft.training.epochs=0.2"]),
        ("recipes/film-reviews.yaml", ["model.adapter=none", "model.layers=null", "sft.training.epochs=0.1"]),
    ],
    ids=["smoke", "lora", "all weights"],
)
def test_the_peak_is_within_15_percent(recipe: str, overrides: list[str], tmp_path: Path) -> None:
    """Of the first two stages where the real model learns: the others would take minutes."""
    content = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    if "film" in recipe:
        content["stages"] = content["stages"][:2]
    content["home"] = str(Path(recipe).parent.resolve())  # where its paths lie
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    arguments = [str(file), f"run={tmp_path / 'run'}", *overrides]

    def ran(*command: str) -> str:
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    foretold, _ = json.loads(ran("-c", FORETOLD, *arguments).splitlines()[-1])
    ran("-m", "gnomon", "run", *arguments)
    results = [read_json(path) for path in (tmp_path / "run").glob("*/result.json")]
    measured = max(found["peak_memory_gb"] for found in results if found["kind"] == "train")
    assert foretold == pytest.approx(measured, rel=0.15), f"{foretold:.3f} GB foretold, {measured:.3f} GB taken"
