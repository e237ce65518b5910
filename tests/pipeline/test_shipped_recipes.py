"""Shipped recipes are found by name where the working directory has no such file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnomon.core.errors import ConfigError
from gnomon.pipeline.recipe import load_recipe
from gnomon.pipeline.shipped_recipes import find_recipe, shipped_recipes

RECIPES = Path(__file__).parents[2] / "recipes"


def test_every_recipe_of_the_folder_has_a_name() -> None:
    recipes = shipped_recipes()
    assert recipes["smoke"] == RECIPES / "smoke.yaml"
    assert recipes["algorithms/dpo"] == RECIPES / "algorithms" / "dpo.yaml"
    assert set(recipes.values()) == set(RECIPES.glob("**/*.yaml"))


def test_a_name_finds_the_shipped_recipe_and_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("smoke")).stages[0].feedback == str(RECIPES / "data" / "smoke-ratings.jsonl")
    (tmp_path / "smoke").mkdir()  # a folder is no recipe
    assert find_recipe(Path("smoke")) == RECIPES / "smoke.yaml"


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").write_text("run: mine\n", encoding="utf-8")
    assert find_recipe(Path("smoke")) == Path("smoke")


def test_paths_with_a_suffix_are_never_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe(Path("smoke.yaml")) == Path("smoke.yaml")
    with pytest.raises(ConfigError, match=r"no recipe at smoke\.yaml; give the path of a YAML file\."):
        load_recipe(Path("smoke.yaml"))


@pytest.mark.parametrize(
    ("name", "hint"), [("smok", "did you mean 'smoke'?"), ("zzz", "known: algorithms/bco, algorithms/chi_po,")]
)
def test_an_unknown_name_is_one_sentence(
    name: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=f"^no recipe at {name}, and none is shipped under that name; "
    ) as error:
        load_recipe(Path(name))
    assert hint in str(error.value)
