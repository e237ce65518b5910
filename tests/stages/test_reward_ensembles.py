"""Ensembles of reward models from a recipe to a saved folder that scores, and as the reward of PPO."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from project import TIMES, Project, write_rows

from gnomon.core.errors import ConfigError, GnomonError, Interrupted, ModelError
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.core.types import Completion, Message, Prompt
from gnomon.models.encoders.scorer import open_scorer
from gnomon.models.engine.device import find_compute
from gnomon.models.reward_ensemble import RewardEnsemble, RewardPanel
from gnomon.pipeline.recipe import load_recipe
from gnomon.pipeline.run import run_recipe
from gnomon.rewards.encoder_reward import reward_of_model
from gnomon.training.offline.loop import OfflineLoop

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
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    recipe["stages"] = recipe["stages"][:1]
    project.recipe.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return project


def without_report(project: Project) -> Project:
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    recipe["stages"] = recipe["stages"][:-1]
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


def test_an_ensemble_rewards_ppo_and_its_uncertainty_is_logged_and_subtracted(project: Project) -> None:
    """The first round has the same completions for any λ: the scores of λ = 0 and 1 differ by the deviation."""
    first_round = {}
    without_report(ensemble_project(project, ensemble={"members": 2, "kind": "models"}))
    for coef in (0, 1):
        project.go(f"aligned.reward=[{{of: judge, combine: mean - {coef} * std}}]")
        samples = list(read_jsonl(project.run / "aligned" / "samples.jsonl"))
        assert all(row["uncertainty"] > 0 for row in samples)
        first_round[coef] = [row for row in samples if row["step"] == 1]
    rows = project.metrics("aligned")
    assert all(row["uncertainty_max"] >= row["uncertainty"] > 0 for row in rows)
    for plain, penalized in zip(first_round[0], first_round[1], strict=True):
        assert plain["text"] == penalized["text"]
        assert plain["uncertainty"] == penalized["uncertainty"]
        assert plain["score"] - penalized["score"] == pytest.approx(plain["uncertainty"], abs=1e-4)


def test_a_calibration_is_fitted_measured_on_unseen_prompts_and_saved(project: Project) -> None:
    only_judge(ensemble_project(project, count=120, ensemble={"members": 3}, calibration={"share": 0.5})).go()
    report = read_json(project.run / "judge" / "result.json")["calibration"]
    assert report["fitted_pairs"] == report["pairs"] == 30  # half of 60 held-out prompts, a pair each
    assert report["temperature"] > 0
    assert report["before"]["ece"] >= 0
    assert report["after"]["ece"] >= 0
    reward = reward_of_model(opened(project), "judge")
    calibration = reward.calibration  # type: ignore[attr-defined]
    assert calibration.temperature == pytest.approx(report["temperature"])
    assert calibration.pairs == 30
    page = (project.run / "report.html").read_text(encoding="utf-8")
    assert "Calibration error on unseen prompts" in page


def test_a_single_reward_model_is_calibrated_too_and_score_gives_its_probability(
    project: Project, ask: Callable[..., Any]
) -> None:
    only_judge(ensemble_project(project, count=120, calibration={"share": 0.5, "method": "isotonic"})).go()
    own = opened(project).calibration
    assert own.method == "isotonic"
    out = project.folder / "scored.jsonl"
    code, *_ = ask("score", project.run / "judge", project.folder / "preferences.jsonl", "--out", out)
    assert code == 0
    for row in list(read_jsonl(out))[:20]:
        expected = float(own.probability(row["chosen_score"] - row["rejected_score"]))
        assert row["predicted_probability"] == pytest.approx(expected, abs=1e-4)
        assert "chosen_uncertainty" not in row


def test_scores_of_a_file_have_the_uncertainty_of_each_completion(
    project: Project, ask: Callable[..., Any]
) -> None:
    only_judge(ensemble_project(project, ensemble={"members": 2})).go()
    out = project.folder / "scored.jsonl"
    code, *_ = ask("score", project.run / "judge", project.folder / "preferences.jsonl", "--out", out)
    assert code == 0
    row = next(iter(read_jsonl(out)))
    assert row["chosen_uncertainty"] > 0
    assert row["rejected_uncertainty"] > 0


@pytest.mark.parametrize("kind", ["heads", "models"])
def test_a_stopped_ensemble_resumes_to_the_same_numbers(project: Project, kind: str) -> None:
    settings = {"members": 2, "kind": kind}
    only_judge(ensemble_project(project, ensemble=settings)).go()
    reward = reward_of_model(opened(project), "judge")
    expected, _ = reward.member_scores([PROMPT] * 3, TEXTS)  # type: ignore[attr-defined]
    metrics = project.metrics("judge")
    again = Project(project.folder, project.recipe)
    recipe = load_recipe(project.recipe, [f"run={project.folder / 'again'}"])
    original, steps = OfflineLoop.step, []

    def stopping(self: OfflineLoop, step: int) -> dict[str, float]:
        steps.append(step)
        if len(steps) == (3 if kind == "heads" else 6):  # in the second member, where there are several loops
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OfflineLoop, "step", stopping)
        with pytest.raises(Interrupted):
            run_recipe(recipe)
    run_recipe(load_recipe(project.recipe, [f"run={project.folder / 'again'}"]))
    model = open_scorer(str(again.folder / "again" / "judge"), find_compute("cpu", "float32"))
    resumed, _ = reward_of_model(model, "judge").member_scores([PROMPT] * 3, TEXTS)  # type: ignore[attr-defined]
    torch.testing.assert_close(resumed, expected, atol=0, rtol=0)
    own = [
        {k: v for k, v in row.items() if k not in TIMES}
        for row in read_jsonl(again.folder / "again" / "judge" / "metrics.jsonl")
    ]
    assert own == metrics


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({"ensemble": {"members": 1}}, "one member has no other to disagree with; for one, leave ensemble out"),
        ({"ensemble": {"kind": "trees"}}, "ensemble.kind"),
        ({"ensemble": {"combine": "mean - -1 * std"}}, "below 0 it would reward disagreement"),
        (
            {"ensemble": {"combine": {"rule": "mean_minus_std", "coef": -1}}},
            "below 0 it would reward disagreement",
        ),
        ({"ensemble": {"combine": {"rule": "trimmed_mean", "trim": 0.5}}}, "leaves no member"),
        ({"ensemble": {"combine": "weighted"}}, "needs weights, one for each member"),
        (
            {"ensemble": {"members": 3, "combine": {"rule": "weighted", "weights": [1, 2]}}},
            "2 weights for 3 members",
        ),
        ({"ensemble": {"combine": "stacked"}}, "fitted on held-out pairs; add calibration"),
        ({"ensemble": {"kind": "adapters"}, "trainable": {"adapter": "none"}}, "no adapter is trained"),
        ({"calibration": {"share": 1.0}}, "some prompts are held out and some trained on"),
        ({"calibration": {"share": 0.01}}, "holds out 1 of 60 prompts"),
        ({"calibration": {"share": 0.2}}, "12 held-out pairs, fewer than 20"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(project: Project, judge: dict[str, Any], message: str) -> None:
    with pytest.raises(GnomonError, match=message) as raised:
        only_judge(ensemble_project(project, **judge)).go()
    assert str(raised.value).count(". ") == 0


def test_other_algorithms_have_no_use_for_an_ensemble(project: Project) -> None:
    with pytest.raises(ConfigError, match="ppo has no use for the key 'ensemble'; remove it"):
        ensemble_project(project).go("aligned.ensemble.members=3")


def test_a_damaged_folder_is_refused(project: Project) -> None:
    only_judge(ensemble_project(project, ensemble={"members": 3})).go()
    folder = project.run / "judge" / "model"
    config = read_json(folder / "config.json")
    config["reward_ensemble"]["names"].append("3")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="does not hold the 4 members that its config"):
        opened(project)
    (folder / "members.safetensors").unlink()
    with pytest.raises(ModelError, match="does not hold the 4 members"):
        opened(project)


def test_heads_alone_learn_on_a_frozen_trunk_each_to_its_own_best_step(project: Project) -> None:
    frozen = {"adapter": "none", "layers": 0}
    training = {"epochs": 3, "batch_size": 10, "learning_rate": 0.05, "validation": {"share": 0.2, "every": 2}}
    only_judge(ensemble_project(project, ensemble={"members": 3}, trainable=frozen)).go(
        *(f"judge.training.{key}={json.dumps(value)}" for key, value in training.items())
    )
    rows = list(read_jsonl(project.run / "judge" / "metrics.jsonl"))
    evaluated = [row for row in rows if "validation_member_0_loss" in row]
    assert len(evaluated) > 2
    assert member_scores_of(project).std(dim=0).min() > 0


def test_an_ensemble_is_not_trained_further(project: Project) -> None:
    only_judge(ensemble_project(project, ensemble={"members": 2})).go()
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    recipe["stages"] = [recipe["stages"][0] | {"model": str(project.run / "judge")}]
    recipe["stages"][0].pop("ensemble")
    recipe["run"] = str(project.folder / "again")
    project.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with pytest.raises(ModelError, match="is an ensemble, which is not trained further"):
        run_recipe(load_recipe(project.recipe))


def member_scores_of(project: Project) -> torch.Tensor:
    reward = reward_of_model(opened(project), "judge")
    members: torch.Tensor = reward.member_scores([PROMPT] * 3, TEXTS)[0]  # type: ignore[attr-defined]
    return members
