"""Every recipe in `recipes/` is right, and every algorithm is shown in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnomon.algorithms.contract import algorithms
from gnomon.app.recipe import TrainStage, load_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("**/*.y*ml"))


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
