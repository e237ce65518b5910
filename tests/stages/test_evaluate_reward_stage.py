"""The stage `evaluate_reward`: the figures of the command, in a recipe and in its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from project import write_rows

import gnomon
from gnomon.core.errors import ConfigError
from gnomon.core.storage.files import read_json
from gnomon.evaluation.examination.results import RewardExamination

MARKS = "def score(prompt, text):\n    return text.count('!')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{n}?", "chosen": "Yes!" if n < 9 else "Yes", "rejected": f"No, {n}."} for n in range(12)]
    write_rows(tmp_path / "pairs.jsonl", rows)
    (tmp_path / "marks.py").write_text(MARKS, "utf-8")
    return tmp_path


def recipe_of(folder: Path, **stage: Any) -> Path:
    row = {"name": "exam", "evaluate_reward": ["marks.py:score", "vader"], "data": "pairs.jsonl", **stage}
    content = {"run": "run", "seed": 5, "model": {"name": "tiny-random"}, "stages": [row]}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def test_the_stage_has_the_figures_of_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipe_of(folder, examination={"perturbed": 4}, fail_if="accuracy<0.9")
    page = gnomon.run(recipe).read_text("utf-8")
    content = read_json(folder / "run" / "exam" / "result.json")["examination"]
    stored = RewardExamination.model_validate(content)
    called = gnomon.evaluate_reward(
        ["marks.py:score", "vader"], "pairs.jsonl", perturbed=4, seed=5, fail_if=["accuracy<0.9"]
    )
    assert [row.overall for row in stored.accuracy] == [row.overall for row in called.accuracy]
    assert stored.models[1] == called.models[1]
    assert stored.differences[0].p == called.differences[0].p
    assert (len(stored.failed_conditions), stored.seed) == (1, 5)
    assert "2 rewards on 12 decided pairs." in page
    assert "Examination of rewards" in page
    assert "marks.py:score: accuracy is 0.875, which meets accuracy<0.9" in capsys.readouterr().err


def test_ridge_learns_from_its_own_texts(folder: Path) -> None:
    texts = [{"id": str(n), "text": "Yes!" if n % 2 else "No.", "ratings": [n % 2]} for n in range(12)]
    write_rows(folder / "rated.jsonl", texts)
    stage = {"evaluate_reward": "ridge", "judge_holdout": "rated.jsonl", "examination": {"perturbed": 0}}
    gnomon.run(recipe_of(folder, **stage))
    content = read_json(folder / "run" / "exam" / "result.json")["examination"]
    called = gnomon.evaluate_reward("ridge", "pairs.jsonl", judge_holdout="rated.jsonl", perturbed=0)
    assert content["accuracy"][0]["overall"]["value"] == called.accuracy[0].overall.value == 1
    with pytest.raises(ConfigError, match="the reward ridge needs judge_holdout"):
        gnomon.evaluate_reward("ridge", "pairs.jsonl")


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ({"evaluate_reward": ["vader", "vader"]}, "names 'vader' twice"),
        ({"evaluate_reward": "ridge"}, "ridge needs the key 'judge_holdout'"),
        ({"fail_if": "accuracy"}, "is not of the form FIGURE<NUMBER"),
        ({"examination": {"bins": 1}}, "must be at least 2"),
        ({"data": []}, "data"),
    ],
)
def test_mistakes_are_found_before_a_run(folder: Path, stage: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        gnomon.load_recipe(recipe_of(folder, **stage))
