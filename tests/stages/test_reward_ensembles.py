"""Ensembles of reward models from a recipe to a saved folder that scores, and as the reward of PPO."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from project import Project, write_rows

from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.core.types import Completion, Message, Prompt
from gnomon.models.encoders.scorer import open_scorer
from gnomon.models.engine.device import find_compute
from gnomon.models.reward_ensemble import RewardEnsemble, RewardPanel
from gnomon.rewards.encoder_reward import reward_of_model

PROMPT = Prompt("p", (Message("user", "How was Solaris?"),))
TEXTS = [Completion(str(n), text) for n, text in enumerate(["A joy!", "No.", "It was long and dull."])]


def rows_with_noise(count: int) -> list[dict[str, Any]]:
    """Pairs of `count` prompts; in every third the raters prefer the other one."""
    rows = []
    for number in range(count):
        good, bad = f"A joy, {number}!", f"No, {number}."
        chosen, rejected = (bad, good) if number % 3 == 0 else (good, bad)
        rows.append({"prompt": f"How was film {number}?", "chosen": chosen, "rejected": rejected})
    return rows


def ensemble_project(project: Project, count: int = 60, **judge: Any) -> Project:
    """The project with an ensemble as its judge."""
    import yaml

    write_rows(project.folder / "preferences.jsonl", rows_with_noise(count))
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    recipe["stages"] = [stage for stage in recipe["stages"] if stage["name"] != "sft"]
    for stage in recipe["stages"]:
        if stage.get("model") == "sft":
            stage["model"] = "base"
    recipe["stages"][0] |= {"training": {"batch_size": 10, "learning_rate": 0.01}, **judge}
    recipe["stages"][-1] |= {"evaluate": ["base", "aligned"], "reference": "base"}
    project.recipe.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return project


def only_judge(project: Project) -> Project:
    import yaml

    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    recipe["stages"] = recipe["stages"][:1]
    project.recipe.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return project


def opened(project: Project) -> Any:
    return open_scorer(str(project.run / "judge"), find_compute("cpu", "float32"))


@pytest.mark.parametrize("kind", ["heads", "adapters", "models"])
def test_an_ensemble_is_trained_saved_and_scores(project: Project, kind: str) -> None:
    only_judge(
        ensemble_project(project, ensemble={"members": 3, "kind": kind, "combine": "mean - 0.5 * std"})
    ).go()
    model = opened(project)
    assert isinstance(model, RewardPanel if kind == "models" else RewardEnsemble)
    reward = reward_of_model(model, "judge")
    members, failures = reward.member_scores([PROMPT] * 3, TEXTS)  # type: ignore[attr-defined]
    assert members.shape == (3, 3)
    assert not failures
    assert members.std(dim=0).min() > 1e-3  # other seeds and other prompts make other models
    scores = reward.score([PROMPT] * 3, TEXTS)
    expected = members.mean(0) - 0.5 * members.std(0, unbiased=False)
    torch.testing.assert_close(scores.values, expected)
    torch.testing.assert_close(scores.uncertainties["judge"], members.std(0, unbiased=False))
    result = read_json(project.run / "judge" / "result.json")
    assert result["members"] == 3
    rows = list(read_jsonl(project.run / "judge" / "metrics.jsonl"))
    assert rows[-1]["loss"] < rows[0]["loss"] + 0.5


def test_the_members_are_centered_each_by_itself(project: Project) -> None:
    """The zero of a score is arbitrary; left in, the deviation over members would measure it."""
    only_judge(ensemble_project(project, count=40, ensemble={"members": 3, "kind": "heads"})).go()
    reward = reward_of_model(opened(project), "judge")
    rows = rows_with_noise(40)
    prompts = [Prompt(str(n), (Message("user", row["prompt"]),)) for n, row in enumerate(rows)]
    both = [Completion(str(n), row[side]) for side in ("chosen", "rejected") for n, row in enumerate(rows)]
    members, _ = reward.member_scores(prompts * 2, both)  # type: ignore[attr-defined]
    torch.testing.assert_close(members.mean(dim=1), torch.zeros(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["heads", "models"])
def test_an_ensemble_rewards_ppo_and_its_uncertainty_is_logged_and_subtracted(
    project: Project, kind: str
) -> None:
    """The first round has the same completions for any λ: the scores of λ = 0 and 1 differ by the deviation."""
    first_round = {}
    for coef in (0, 1):
        ensemble_project(project, ensemble={"members": 2, "kind": kind}).go(
            f"aligned.reward=[{{of: judge, combine: mean - {coef} * std}}]"
        )
        samples = list(read_jsonl(project.run / "aligned" / "samples.jsonl"))
        assert all(row["uncertainty"] > 0 for row in samples)
        first_round[coef] = [row for row in samples if row["step"] == 1]
    rows = project.metrics("aligned")
    assert all(row["uncertainty_max"] >= row["uncertainty"] > 0 for row in rows)
    for plain, penalized in zip(first_round[0], first_round[1], strict=True):
        assert plain["text"] == penalized["text"]
        assert plain["uncertainty"] == penalized["uncertainty"]
        assert plain["score"] - penalized["score"] == pytest.approx(plain["uncertainty"], abs=1e-4)
