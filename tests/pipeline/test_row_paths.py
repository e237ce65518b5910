"""What a relative path in a recipe means: the recipe's folder, the working directory, or a stage's part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project, Ran, write_rows

from gnomon.core.errors import DataError
from gnomon.models.tiny_random import RandomModel
from gnomon.pipeline.preflight import check_inputs
from gnomon.pipeline.recipe import load_recipe
from gnomon.pipeline.row_paths import resolve_paths, with_paths
from gnomon.stages.references import is_part


def test_a_file_that_exists_or_looks_like_one_is_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_part("judge/preferences", {"judge"})
    assert not is_part("judge/preferences", {"other"})
    assert not is_part("judge", {"judge"})
    assert not is_part("judge/pairs.jsonl", {"judge"})
    assert not is_part("judge/pairs.CSV", {"judge"})
    Path("judge", "preferences").mkdir(parents=True)
    assert not is_part("judge/preferences", {"judge"})
    assert not is_part("judge/preferences#train", {"judge"})
    assert is_part("judge/" + "x" * 300, {"judge"})


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a recipe that names everything from its own folder; the working directory is beside it."""
    clone, here = tmp_path / "clone", tmp_path / "here"
    for folder in (clone / "data", clone / "org" / "base", here):
        folder.mkdir(parents=True)
    RandomModel().write(clone / "org" / "base")
    write_rows(clone / "data" / "rows.jsonl", [{"prompt": "q", "completion": f"{n}"} for n in range(4)])
    write_rows(clone / "prompts.jsonl", [{"prompt": "q"}])
    (clone / "reward.py").write_text("def score(prompt, completion):\n    return len(completion)\n")
    (clone / "plain.jinja").write_text("{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}")
    content: dict[str, Any] = {
        "run": "run",
        "model": {"name": "org/base", "adapter": "none", "device": "cpu", "precision": "float32"},
        "stages": [
            {"name": "sft", "algorithm": "sft", "data": {"data/rows.jsonl": 1.0}, "training": {"batch_size": 2}},
            {
                "name": "rloo",
                "algorithm": "rloo",
                "model": "sft",
                "prompts": "prompts.jsonl",
                "reward": [{"of": "reward.py:score"}],
                "training": {"steps": 1, "prompts_per_step": 1},
                "sampling": {"completions": 2, "max_tokens": 4},
            },
        ],
    }
    (clone / "recipe.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(here)
    return here


def test_the_recipes_own_folder_comes_first(elsewhere: Path) -> None:
    recipe = load_recipe(Path("../clone/recipe.yaml"), ["model.chat_template=plain"])
    check_inputs(recipe)
    assert recipe.model.name == "../clone/org/base"
    assert recipe.stages[0].data_sources == {"../clone/data/rows.jsonl": 1.0}
    assert recipe.stages[1].rewards == ["../clone/reward.py:score"]
    assert recipe.stages[1].model == "sft"
    assert recipe.run == "run"
    Path("data").mkdir()
    Path("data", "rows.jsonl").write_text("no data")
    assert load_recipe(Path("../clone/recipe.yaml")).stages[0].data_sources == {"../clone/data/rows.jsonl": 1.0}
    Path("../clone/prompts.jsonl").rename("prompts.jsonl")
    assert load_recipe(Path("../clone/recipe.yaml")).stages[1].prompt_sources == {"prompts.jsonl": 1.0}


def test_what_is_typed_means_the_working_directory(elsewhere: Path) -> None:
    write_rows(Path("../clone/own.jsonl"), [{"prompt": "not this"}])
    recipe = load_recipe(Path("../clone/recipe.yaml"), ["rloo.prompts=own.jsonl"])
    with pytest.raises(DataError, match=r"no data at own\.jsonl"):
        check_inputs(recipe)
    write_rows(Path("own.jsonl"), [{"prompt": "this"}])
    check_inputs(recipe)
    assert recipe.stages[1].prompt_sources == {"own.jsonl": 1.0}


def test_a_run_goes_on_from_any_working_directory(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprints have paths as they are written; the resolved recipe names the folder that they start from."""
    run = elsewhere / "run"
    project = Project(elsewhere, Path("../clone/recipe.yaml"))
    project.go("model.chat_template=plain")
    monkeypatch.chdir(elsewhere.parent / "clone")
    Project(elsewhere, Path("recipe.yaml")).go("model.chat_template=plain")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert "home" not in config
    assert config["stages"][0]["data"] == {"data/rows.jsonl": 1.0}
    monkeypatch.chdir(elsewhere.parent)
    Project(elsewhere, Path("clone/recipe.yaml")).go("model.chat_template=plain")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["home"] == str(elsewhere.parent / "clone")
    assert config["model"]["name"] == "org/base"
    Project(elsewhere, run / "config.yaml").go()
    assert not list(run.glob("*.1"))


def test_every_key_that_names_something_is_looked_at() -> None:
    row = {
        "model": "m", "critic": "m", "token_reward": "m", "reward": [{"of": "m"}, {"rule": "length"}],
        "name": "m",
        "data": "d", "prompts": {"d": 2, "e": 1}, "texts": "d", "judge_holdout": "d", "feedback": "d",
        "evaluate": ["m"], "judges": ["m", "vader"], "reference": "m", "candidate": "m", "independent": ["m"],
        "best_of": {"judge": "m", "n": 2}, "sft_mix": {"data": "d"}, "stored": {"data": "d"},
        "phases": [{"data": "d"}, 3],
    }  # fmt: skip
    found = with_paths(row, lambda d: d.upper(), lambda m: f"<{m}>")
    assert found == {
        "model": "<m>", "critic": "<m>", "token_reward": "<m>", "reward": [{"of": "<m>"}, {"rule": "length"}],
        "name": "m", "data": "D", "prompts": {"D": 2, "E": 1}, "texts": "D", "judge_holdout": "D",
        "feedback": "D",
        "evaluate": ["<m>"], "judges": ["<m>", "<vader>"], "reference": "<m>", "candidate": "<m>",
        "independent": ["<m>"], "best_of": {"judge": "<m>", "n": 2}, "sft_mix": {"data": "D"},
        "stored": {"data": "D"}, "phases": [{"data": "D"}, 3],
    }  # fmt: skip


@pytest.mark.parametrize("stages", [None, 3, [1, "x"], [{"data": 3, "evaluate": {"a": 1}, "reward": [None, 3]}]])
def test_a_recipe_that_is_none_is_left_to_its_check(tmp_path: Path, stages: Any) -> None:
    content = {"stages": stages, "model": "x", "run": "r"}
    assert resolve_paths(content, tmp_path) == {}
    assert content == {"stages": stages, "model": "x", "run": "r"}


def test_data_in_a_folder_called_like_the_algorithm(
    ask: Callable[..., Ran], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dpo").mkdir()
    write_rows(Path("dpo/pairs.jsonl"), [{"prompt": p, "chosen": "b", "rejected": "c"} for p in "xy"])
    line = ["train", "dpo", "--model", tiny_model, "--out", "run", "device=cpu"]
    code, _, err = ask(*line, "--data", "dpo/absent.jsonl")
    assert (code, "no data at dpo/absent.jsonl" in err) == (2, True), err
    assert not Path("run").exists()
    code, _, err = ask(*line, "--data", "dpo/pairs.jsonl")
    assert code == 0, err
