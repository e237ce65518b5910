"""Users' own models: recognized, checked before anything runs, digested, and never used as another kind."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi
from project import Project
from transformers import AutoConfig

from gnomon.core.errors import ConfigError, ModelError
from gnomon.core.storage.files import read_json
from gnomon.models import external
from gnomon.models.engine.device import find_compute
from gnomon.models.external import (
    check_external_model,
    digest_model,
    is_external_model,
    kind_of,
    model_path,
    open_policy,
    open_reward_model,
)
from gnomon.models.roles import Critic, RewardModel
from gnomon.pipeline.recipe import load_recipe
from gnomon.pipeline.references import outside_models
from gnomon.pipeline.run import run_recipe

CPU = find_compute("cpu", "float32")


@pytest.fixture
def model_dir(tmp_path: Path, tiny_model: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model_dir"))


def changed(project: Project, **stages: dict[str, object]) -> Project:
    content = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    for row in content["stages"]:
        row.update(stages.get(row["name"], {}))
    path = project.folder / "changed.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return Project(project.folder, path)


def test_external_models_are_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    for name in ("smollm2-135m", "org/model", "./x", "/x", "model.gguf", "here"):
        assert is_external_model(name), name
    for name in ("sft", "smollm3", "Here2"):
        assert not is_external_model(name), name


def test_a_stage_precedes_a_folder_of_the_same_name(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sft").mkdir()
    (tmp_path / "aligned").mkdir()
    assert outside_models(load_recipe(project.recipe).stages) == []
    with pytest.raises(ConfigError, match="model names 'aligned', no earlier stage"):
        load_recipe(project.recipe, ["sft.model=aligned"])


def test_external_models_are_listed_with_the_expected_kind(project: Project) -> None:
    recipe = load_recipe(
        changed(
            project, judge={"model": "./a"}, aligned={"model": "./b", "reward": "./c", "critic": "./d"}
        ).recipe
    )
    assert outside_models(recipe.stages) == [
        ("./a", "policy or reward"),
        ("./b", "policy"),
        ("./c", "reward"),
        ("./d", "policy or reward or critic"),
    ]


def test_a_stages_folder_resolves_to_its_model(finished: Project, model_dir: Path) -> None:
    assert model_path(str(finished.run / "sft")) == str(finished.run / "sft" / "model")
    assert model_path(str(model_dir)) == str(model_dir)
    assert model_path("smollm2-135m") == "smollm2-135m"


def test_kinds(finished: Project, tiny_model: Path, tmp_path: Path) -> None:
    assert kind_of(str(tiny_model)) == "policy"
    assert kind_of(str(finished.run / "judge" / "model")) == "reward"
    for content, kind in (("{", ""), ("[]", ""), ('{"architectures": null}', "")):
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
        assert kind_of(str(tmp_path)) == kind
    (tmp_path / "adapter_config.json").write_text(json.dumps({"task_type": "SEQ_CLS"}), encoding="utf-8")
    assert kind_of(str(tmp_path)) == "reward"


def test_one_kind_is_never_loaded_as_the_other(finished: Project, tiny_model: Path) -> None:
    """With tied embeddings a reward model lacks nothing of a language model, so loading would not notice."""
    judge = finished.run / "judge" / "model"
    with pytest.raises(ModelError, match="holds a language model, but a reward model is needed; give another"):
        open_reward_model(str(tiny_model), CPU)
    with pytest.raises(ModelError, match="holds a reward model, but a language model is needed"):
        open_policy(str(judge), CPU)
    assert open_reward_model(str(finished.run / "judge"), CPU).offset != 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./absent", "no model folder at ./absent"),
        ("~/no/such/folder", "no model folder at ~/no/such/folder"),
        ("a/b/c", "no model folder at a/b/c"),
        ("absent.gguf", "no file absent.gguf"),
        ("FILE", "no model folder at"),
        ("EMPTY", "holds no config.json"),
    ],
)
def test_missing_models_are_reported_without_loading(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    paths = {"FILE": str(tmp_path / "file"), "EMPTY": str(tmp_path / "empty")}
    with pytest.raises(ModelError) as excinfo:
        check_external_model(paths.get(name, name))
    assert sentence in str(excinfo.value)


def test_hub_and_catalog_names_pass_without_a_request() -> None:
    check_external_model("org/model")
    check_external_model("smollm2-135m")


def test_the_digest_covers_weights_and_settings_only(model_dir: Path) -> None:
    first = digest_model(str(model_dir))
    (model_dir / "README.md").write_text("x", encoding="utf-8")
    os.utime(model_dir / "model.safetensors", (1, 1))
    assert digest_model(str(model_dir)) == first, "small files count by content"
    path = model_dir / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    second = digest_model(str(model_dir))
    assert second != first
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    (model_dir / "config.json").write_text(json.dumps({**config, "rope_theta": 1}), encoding="utf-8")
    assert digest_model(str(model_dir)) not in (first, second)


def test_large_files_count_by_size_and_time(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "SMALL", 10)
    os.utime(model_dir / "model.safetensors", (1, 1))
    first = digest_model(str(model_dir))
    assert digest_model(str(model_dir)) == first
    os.utime(model_dir / "model.safetensors", (2, 2))
    assert digest_model(str(model_dir)) != first


@pytest.mark.long
def test_a_run_on_models_by_path(project: Project, finished: Project, model_dir: Path) -> None:
    """Every key that names a model takes a folder; a changed folder restarts what used it, and only that."""
    judge = Path(shutil.copytree(finished.run / "judge", project.folder / "their_judge"))
    made = changed(
        project,
        aligned={"model": str(model_dir), "reward": str(judge), "critic": str(model_dir)},
        report={
            "evaluate": [str(model_dir), "sft", "aligned"],
            "judges": [str(judge)],
            "reference": str(model_dir),
        },
    )
    made.go()
    result = read_json(made.run / "report" / "result.json")
    assert result["models"] == [str(model_dir), "sft", "aligned"]
    assert result["reference"] == str(model_dir)
    assert result["judges"] == [{"name": str(judge), "independent": False}], "nobody knows who learned from it"
    made.go()
    assert not list(made.run.glob("*.1"))

    path = model_dir / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    path.write_bytes(bytes(data))
    made.go()
    assert {p.name for p in made.run.glob("*.1")} == {"aligned.1", "report.1"}


@pytest.mark.parametrize(("layers", "shared"), [(0, 1), (1, 0)])
def test_a_critic_reads_the_trunk_of_its_judge_where_neither_learns(
    project: Project, finished: Project, monkeypatch: pytest.MonkeyPatch, layers: int, shared: int
) -> None:
    lent: list[RewardModel] = []
    share = Critic.share_trunk

    def noted(critic: Critic, judge: RewardModel) -> None:
        lent.append(judge)
        share(critic, judge)

    monkeypatch.setattr(Critic, "share_trunk", noted)
    made = changed(
        project,
        aligned={
            "model": str(finished.run / "sft"),
            "reward": str(finished.run / "judge"),
            "critic_trainable_layers": layers,
        },
    )
    one = made.folder / "one.yaml"
    recipe = yaml.safe_load(made.recipe.read_text(encoding="utf-8"))
    recipe["stages"] = [stage for stage in recipe["stages"] if stage["name"] == "aligned"]
    one.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run_recipe(load_recipe(one, [f"run={made.run}"]))
    assert len(lent) == shared
    assert all(row["score_std"] > 0 for row in made.metrics("aligned"))


def test_an_outside_model_of_the_wrong_kind_stops_before_the_first_stage(
    project: Project, model_dir: Path
) -> None:
    made = changed(project, aligned={"reward": str(model_dir)})
    with pytest.raises(ModelError, match="holds a language model, but a reward model is needed"):
        made.go()
    assert not (made.run / "sft").exists()


def test_a_name_that_is_not_to_be_had_is_refused_before_transformers_tries_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """transformers would ask for its files, and again for half a minute."""

    def unreachable(self: HfApi, name: str, *, timeout: float) -> None:
        raise TimeoutError

    def never(*_: object, **__: object) -> None:
        raise AssertionError("transformers was called")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    monkeypatch.setattr(AutoConfig, "from_pretrained", never)
    for opening in (open_policy, open_reward_model):
        with pytest.raises(ModelError, match="no model folder 'some-org/none-such', no copy in the hub's cache"):
            opening("some-org/none-such", CPU)
