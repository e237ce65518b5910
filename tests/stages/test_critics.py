"""Critics are saved beside their policy, and a later stage's critic starts from one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from project import Project
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from gnomon.core.errors import ConfigError, ModelError
from gnomon.core.progress import StopSignal
from gnomon.models.engine.device import find_compute
from gnomon.models.loading import load_critic
from gnomon.models.settings import FROZEN
from gnomon.pipeline.recipe import load_recipe
from gnomon.pipeline.resource_plan import plan_recipe
from gnomon.pipeline.run import run_recipe
from gnomon.stages.common.load import load_auxiliary_models, load_trained
from gnomon.stages.references import maker
from gnomon.stages.train import TrainStage
from gnomon.stages.workspace import Workspace

SMALL = {"steps": 1, "prompts_per_step": 2, "truncation_score": None, "critic_learning_rate": 0.1}


def ppo(name: str, folder: Path, **keys: Any) -> dict[str, Any]:
    return {
        "name": name,
        "algorithm": "ppo",
        "prompts": str(folder / "prompts.jsonl"),
        "reward": "vader",
        "sampling": {"completions": 2, "max_tokens": 5},
        "training": SMALL,
        **keys,
    }


def write(project: Project, *stages: dict[str, Any]) -> Path:
    content = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    model = {**content["model"], "precision": "float32"}
    made = {"run": str(project.run), "model": model, "stages": list(stages)}
    project.recipe.write_text(yaml.safe_dump(made), encoding="utf-8")
    return project.recipe


def test_a_stage_starts_from_the_saved_critic_bit_for_bit(project: Project) -> None:
    second = ppo("second", project.folder, model="first", critic="first/critic")
    recipe = load_recipe(write(project, ppo("first", project.folder), second))
    run_recipe(recipe)
    folder = project.run / "first" / "critic"
    saved = load_file(folder / "model.safetensors")
    assert saved["score.weight"].abs().max() > 1e-3  # it has learned
    AutoModelForSequenceClassification.from_pretrained(folder)
    work = Workspace(project.run, recipe, find_compute("cpu", "float32"), StopSignal())
    stage = recipe.stages[1]
    assert isinstance(stage, TrainStage)
    started = load_auxiliary_models(stage, work, load_trained(stage, work)).critic
    assert started is not None
    weights = started.network.state_dict()
    assert weights.keys() == saved.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in saved.items())
    went_on = load_file(project.run / "second" / "critic" / "model.safetensors")
    assert not torch.equal(went_on["score.weight"], saved["score.weight"])
    keys = {
        Workspace(project.run, recipe, work.compute, StopSignal(), fingerprints={"first": of}).fingerprint(stage)
        for of in ("one", "another")
    }
    assert len(keys) == 2  # another critic to start from is another stage


def test_a_critic_is_named_by_its_folder_too_and_is_no_judge(project: Project) -> None:
    run_recipe(load_recipe(write(project, ppo("first", project.folder))))
    folder = str(project.run / "first" / "critic")
    write(project, ppo("first", project.folder), ppo("again", project.folder, critic=folder))
    run_recipe(load_recipe(project.recipe))
    write(project, ppo("judged", project.folder, reward=folder))
    with pytest.raises(ModelError, match="holds a critic, but a reward model is needed"):
        run_recipe(load_recipe(project.recipe))


def test_a_plan_leaves_a_critic_for_later_stages(project: Project) -> None:
    second = ppo("second", project.folder, model="first", critic="first/critic")
    plan_recipe(load_recipe(write(project, ppo("first", project.folder), second)))


def test_a_hybrid_stage_leaves_its_last_critic(project: Project) -> None:
    phases = [{**ppo(n, project.folder), "algorithm": a} for n, a in (("a", "ppo"), ("b", "ppo"), ("c", "rloo"))]
    second = ppo("second", project.folder, model="mixed", critic="mixed/critic")
    recipe = load_recipe(write(project, {"name": "mixed", "phases": phases}, second))
    assert recipe.stages[0].saved_critic() == "mixed/b/critic"
    assert maker("mixed/critic", {"mixed"}) == "mixed"


@pytest.mark.parametrize(
    ("critic", "said"),
    [
        ("first/critic", "'first' trains no critic"),
        ("later/critic", "no earlier stage|no stage|is not"),
        ("first", ""),
    ],
)
def test_a_critic_that_nobody_makes_is_refused(project: Project, critic: str, said: str) -> None:
    first = {"name": "first", "algorithm": "sft", "data": str(project.folder / "demonstrations.jsonl")}
    write(project, first, ppo("second", project.folder, critic=critic), ppo("later", project.folder))
    if not said:
        load_recipe(project.recipe)
        return
    with pytest.raises(ConfigError, match=said):
        load_recipe(project.recipe)


def test_a_saved_head_of_another_shape_is_refused(project: Project) -> None:
    run_recipe(load_recipe(write(project, ppo("first", project.folder, head={"head": "mlp", "hidden": 8}))))
    folder = str(project.run / "first" / "critic")
    compute = find_compute("cpu", "float32")
    assert load_critic(folder, compute, FROZEN, seed=0).network.score.hidden is not None
    from gnomon.models.settings import HeadSettings

    with pytest.raises(ModelError, match="has a head of its own"):
        load_critic(folder, compute, FROZEN, seed=0, head=HeadSettings(head="mlp", hidden=4))
