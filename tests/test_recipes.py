"""Every recipe in `recipes/` is right, and every algorithm is shown in one."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from project import command, environment
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from gnomon.algorithms.contract import algorithms
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.core.types import RatedText
from gnomon.data.records import read_records
from gnomon.pipeline.recipe import load_recipe
from gnomon.stages.train import TrainStage

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("**/*.y*ml"))
GOOD = ("good", "great", "lovely", "好吃", "不错", "精彩")
BAD = ("bad", "awful", "dull", "难吃", "糟糕", "无聊")
OFFSETS = {"simulated-plain": 0, "simulated-mild": 1, "simulated-harsh": -1}


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_shipped_recipe_is_right(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.stages
    assert path.read_text(encoding="utf-8").startswith("#")  # it says what it is for


def test_no_two_recipes_share_a_run_folder() -> None:
    runs = [load_recipe(path).run for path in RECIPES]
    assert len(set(runs)) == len(runs)


def test_every_algorithm_has_a_recipe() -> None:
    stages = [stage for path in RECIPES for stage in load_recipe(path).stages]
    used = {stage.algorithm for stage in stages if isinstance(stage, TrainStage)}
    assert set(algorithms()) == used


def test_the_smoke_ratings_are_what_their_readme_says() -> None:
    """A rule made them, and every row and rater says so: they may not pass for people's."""
    items = read_records(RatedText, ROOT / "recipes" / "data" / "smoke-ratings.jsonl")
    assert len(items) == 60
    for item in items:
        text = item.text.casefold()
        level = sum(map(text.count, GOOD)) - sum(map(text.count, BAD))
        assert dict(zip(item.raters, item.ratings, strict=True)) == {
            name: level + offset for name, offset in OFFSETS.items()
        }
    readme = (ROOT / "recipes" / "data" / "README.md").read_text(encoding="utf-8")
    assert all(word in readme for word in (*GOOD, *BAD, *OFFSETS, "Nobody gave these ratings"))


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number in a JSON value, and every null, with where it stands."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from numbers(below, f"{path}/{key}")
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from numbers(below, f"{path}/{place}")
    elif value is None or isinstance(value, int | float):
        yield path, value


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the smoke recipe, started as a user starts it, with an empty cache."""
    folder = tmp_path_factory.mktemp("smoke")
    started = command("run", "recipes/smoke.yaml", f"run={folder / 'run'}")
    own = {**environment(), "GNOMON_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        started, capture_output=True, encoding="utf-8", env=own, cwd=ROOT, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.slow
def test_the_smoke_recipe_runs_from_start_to_end(smoke: Path) -> None:
    page = (smoke / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page or "<img" in page
    stages = [stage.name for stage in load_recipe(ROOT / "recipes" / "smoke.yaml").stages]
    assert stages == ["feedback", "sft", "judge", "aligned", "report"]
    for stage in stages:
        found = dict(numbers(read_json(smoke / stage / "result.json")))
        undefined = {path for path, value in found.items() if value is None or not math.isfinite(value)}
        # The KL of the reference to itself is not measured.
        assert undefined == (
            {"/table/1/kl", "/table/1/kl_low", "/table/1/kl_high"} if stage == "report" else set()
        )
    for stage in ("sft", "judge", "aligned"):
        rows = list(read_jsonl(smoke / stage / "metrics.jsonl"))
        assert rows
        assert all(value is not None and math.isfinite(value) for _, value in numbers(rows))
    checks = {check["name"]: check for check in read_json(smoke / "report" / "result.json")["checks"]}
    rows = read_json(smoke / "judge" / "result.json")["evaluation"]["rows"]
    baselines = [row["pearson"] for row in rows if row["kind"] == "baseline"]
    assert checks["reward_model"]["threshold"] == max(baselines)
    assert checks["reward_model"]["value"] == next(row["pearson"] for row in rows if row["kind"] == "model")
    losses = [row["loss"] for row in read_jsonl(smoke / "sft" / "metrics.jsonl")]
    assert losses[-1] < losses[0] - 0.5  # it learns


def test_the_smoke_models_load_in_transformers(smoke: Path) -> None:
    for stage, kind in {
        "sft": AutoModelForCausalLM,
        "aligned": AutoModelForCausalLM,
        "judge": AutoModelForSequenceClassification,
    }.items():
        folder = smoke / stage / "model"
        network, facts = kind.from_pretrained(folder, output_loading_info=True)
        assert not facts["missing_keys"]
        ids = AutoTokenizer.from_pretrained(folder)("A good soup.", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = network(ids).logits
        assert logits.isfinite().all()
        assert logits.shape == ((1, 1) if stage == "judge" else (1, ids.shape[1], 258))
