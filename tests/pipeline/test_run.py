"""A whole project, end to end: what the run folder holds, what is not done twice, and what is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from packaging.version import Version
from project import DIVERGING, Project, write_rows
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from gnomon.core.errors import ConfigError, DataError, ModelError, RunError
from gnomon.core.storage.digests import digest_file
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.models.engine.device import find_compute
from gnomon.models.loading import load_reward_model
from gnomon.pipeline.recipe import load_recipe
from gnomon.training.settings import OfflineSettings, OnlineSettings

STAGES = ["sft", "judge", "aligned", "report"]


def times(run: Path) -> dict[str, int]:
    """When each file of the stages was written."""
    return {
        str(path.relative_to(run)): path.stat().st_mtime_ns
        for stage in STAGES
        for path in (run / stage).rglob("*")
        if path.is_file() and path.name != "stage.json"
    }


def weights(run: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_file(run / stage / "model" / "model.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_run_folder_holds_what_a_later_reader_needs(finished: Project) -> None:
    run = finished.run
    assert {p.name for p in run.iterdir()} == {*STAGES, "config.yaml", "environment.json", "report.html"}
    assert not list(run.rglob("checkpoints")), "checkpoints are of no use once the model is written"
    assert not [p for p in run.rglob("*") if p.name.startswith((".", "tmp", "partial-"))], "nothing half-written"
    for stage in STAGES:
        assert read_json(run / stage / "result.json")["seconds"] > 0


def test_the_configuration_is_resolved_and_runs_again(finished: Project, tmp_path: Path) -> None:
    config = yaml.safe_load((finished.run / "config.yaml").read_text(encoding="utf-8"))
    assert [row["name"] for row in config["stages"]] == STAGES
    sft, _, aligned, _ = config["stages"]
    assert sft["training"] == OfflineSettings(
        micro_batch_tokens=256, learning_rate=0.01, warmup=0, epochs=2, batch_size=4
    ).model_dump(mode="json")
    assert aligned["training"]["kl"]["target"] == OnlineSettings().kl.target  # defaults are written out
    assert aligned["training"]["truncation_score"] is None  # and so is what is null
    again = tmp_path / "config.yaml"
    again.write_bytes((finished.run / "config.yaml").read_bytes())
    assert [stage.name for stage in load_recipe(again).stages] == STAGES


def test_the_environment_names_versions_seed_and_data(finished: Project) -> None:
    found = read_json(finished.run / "environment.json")
    assert found["seed"] == 3
    assert Version(found["torch"]).public == Version(torch.__version__).public  # a build has a label of its own
    mine = finished.folder / "preferences.jsonl"
    assert found["data"][str(mine)] == digest_file(mine)


def test_each_step_left_its_metrics(finished: Project) -> None:
    sft, judge, aligned = (finished.metrics(stage) for stage in STAGES[:3])
    assert [row["step"] for row in sft] == [1, 2, 3, 4, 5, 6]  # 12 demonstrations, twice, 4 a step
    assert [row["step"] for row in judge] == [1, 2]  # 4 prompts, 2 a step
    assert [row["step"] for row in aligned] == [1, 2]
    assert sft[-1]["loss"] < sft[0]["loss"]
    assert {"accuracy", "reward_margin"} <= judge[0].keys()
    assert {"score_mean", "kl", "kl_coef", "value_loss", "clip_fraction", "reward_failures"} <= aligned[0].keys()
    assert aligned[0]["kl"] == pytest.approx(0, abs=1e-4)  # the policy starts as its reference
    assert aligned[1]["kl"] != 0
    assert read_json(finished.run / "sft" / "result.json")["final"]["loss"] == sft[-1]["loss"]


def test_samples_are_kept_with_their_scores(finished: Project) -> None:
    rows = list(read_jsonl(finished.run / "aligned" / "samples.jsonl"))
    assert [row["step"] for row in rows] == [1] * 6 + [2] * 6  # 3 prompts × 2 completions
    assert all({"prompt", "text", "score", "finished"} <= row.keys() for row in rows)
    shown = list(read_jsonl(finished.run / "report" / "samples.jsonl"))
    assert len(shown) == 3 * 4 * 3  # models, prompts, completions
    assert {row["model"] for row in shown} == {"base", "sft", "aligned"}
    assert all(row["scores"].keys() == {"judge", "vader"} for row in shown)


def test_models_load_in_plain_transformers(finished: Project, tiny_model: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    for stage in ("sft", "aligned"):
        folder = finished.run / stage / "model"
        network = AutoModelForCausalLM.from_pretrained(folder)
        assert network.state_dict().keys() == base.state_dict().keys()  # no adapter is left in it
        assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), base.parameters(), strict=True))
        assert AutoTokenizer.from_pretrained(folder).chat_template
    judge = AutoModelForSequenceClassification.from_pretrained(finished.run / "judge" / "model")
    assert judge.config.num_hidden_layers == 2
    assert judge.score.weight.shape[0] == 1


def test_the_judge_is_centred_and_was_moved(finished: Project, tiny_model: Path) -> None:
    model = load_reward_model(str(finished.run / "judge" / "model"), find_compute("cpu", "float32"), seed=0)
    assert model.offset != 0
    fresh = load_reward_model(str(tiny_model), find_compute("cpu", "float32"), seed=3, num_layers=2)
    assert not torch.equal(model.network.score.weight, fresh.network.score.weight)


def test_the_evaluation_compares_every_model_before_every_judge(finished: Project) -> None:
    found = read_json(finished.run / "report" / "result.json")
    assert [row["model"] for row in found["table"]] == ["base", "sft", "aligned"]
    assert {(row["against"], row["judge"]) for row in found["win_rates"]} == {
        (model, judge) for model in ("base", "sft") for judge in ("judge", "vader")
    }
    assert all(row["wins"] + row["ties"] + row["losses"] == 4 * 3 * 3 for row in found["win_rates"])
    assert found["judges"] == [{"name": "judge", "independent": False}, {"name": "vader", "independent": True}]
    assert [row["kl"] is None for row in found["table"]] == [False, True, False]  # sft is the reference
    assert {check["name"] for check in found["checks"]} == {"win_rate", "perplexity", "distinct_2"}
    assert all(check["judge"] == "vader" for check in found["checks"] if check["name"] == "win_rate")


def test_the_report_shows_every_stage(finished: Project) -> None:
    page = (finished.run / "report.html").read_text(encoding="utf-8")
    assert all(stage in page for stage in STAGES)
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_run_does_nothing(copied: Project, capsys: pytest.CaptureFixture[str]) -> None:
    before = times(copied.run)
    copied.go()
    assert times(copied.run) == before
    assert {p.name for p in copied.run.iterdir()} == {*STAGES, "config.yaml", "environment.json", "report.html"}


def test_a_changed_setting_runs_its_stage_and_the_later_ones_anew(copied: Project) -> None:
    before, old = times(copied.run), read_json(copied.run / "judge" / "result.json")
    copied.go("judge.training.learning_rate=0.02")
    after = times(copied.run)
    unchanged = {name.partition("/")[0] for name in before if before[name] == after.get(name)}
    assert unchanged == {"sft"}
    folders = {p.name for p in copied.run.iterdir() if p.is_dir()}
    assert folders == {*STAGES, "judge.1", "aligned.1", "report.1"}
    assert read_json(copied.run / "judge.1" / "result.json") == old
    assert read_json(copied.run / "judge" / "stage.json")["stage"]["training"]["learning_rate"] == 0.02
    copied.go("judge.training.learning_rate=0.03")
    assert {p.name for p in copied.run.glob("judge*")} == {"judge", "judge.1", "judge.2"}


@pytest.mark.long
def test_changed_data_run_their_stage_anew(copied: Project, tmp_path: Path) -> None:
    rows = list(read_jsonl(copied.recipe.parent / "prompts.jsonl"))
    write_rows(tmp_path / "prompts.jsonl", rows)
    override = f"aligned.prompts={tmp_path / 'prompts.jsonl'}"
    copied.go(override)
    before = times(copied.run)
    copied.go(override)
    assert times(copied.run) == before
    write_rows(tmp_path / "prompts.jsonl", [*rows, {"prompt": "And now?"}])
    copied.go(override)
    after = times(copied.run)
    assert {n.partition("/")[0] for n in before if before[n] == after.get(n)} == {"sft", "judge"}


def test_a_stage_without_its_marker_is_kept_and_done_again(copied: Project) -> None:
    (copied.run / "aligned" / "stage.json").unlink()
    copied.go()
    assert {p.name for p in copied.run.iterdir() if p.is_dir()} == {*STAGES, "aligned.1"}


def test_the_same_seed_gives_the_same_run_and_another_another(
    finished: Project, tmp_path: Path, tiny_model: Path
) -> None:
    same, other = (Project(tmp_path / name, finished.recipe) for name in ("same", "other"))
    same.go()
    other.go("seed=4")
    for stage in STAGES[:3]:
        assert same.metrics(stage) == finished.metrics(stage)
        assert equal(weights(same.run, stage), weights(finished.run, stage))
        assert other.metrics(stage) != finished.metrics(stage)

    def without_clock(project: Project) -> dict[str, Any]:
        return {**read_json(project.run / "report" / "result.json"), "seconds": 0}

    assert without_clock(same) == without_clock(finished)


def test_settings_and_adapter_of_a_stage_are_used(project: Project) -> None:
    """Without an adapter the reference is a model of its own; only the stage's own layers learn."""
    project.go("aligned.trainable.adapter=none", "aligned.trainable.layers=1", "aligned.settings.clip_high=0.3")
    result = read_json(project.run / "aligned" / "result.json")
    assert result["parameters"]["trainable"] < result["parameters"]["total"] / 2
    before, after = weights(project.run, "sft"), weights(project.run, "aligned")
    moved = {name.split(".")[2] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"2"}  # the last of three layers
    first, second = project.metrics("aligned")
    assert first["kl"] == pytest.approx(0, abs=1e-4)
    assert abs(second["kl"]) > 1e-3  # the policy moved, its reference did not


def test_a_head_of_another_shape_goes_the_whole_route(project: Project) -> None:
    """A pooled judge is trained, saved, loaded again to score for a policy, and read by the evaluation."""
    project.go("judge.head.pooling=attention", "judge.head.head=mlp", "aligned.head.head=mlp")
    saved = project.run / "judge" / "model" / "reward_head.safetensors"
    assert {name.partition(".")[0] for name in load_file(saved)} == {"query", "hidden", "out"}
    judge = load_reward_model(str(project.run / "judge" / "model"), find_compute("cpu", "float32"), seed=0)
    assert str(judge.network.score.settings) == "mlp on attention"
    assert judge.offset != 0
    assert len(project.metrics("aligned")) == 2


def test_gradient_checkpointing_changes_no_number(project: Project, finished: Project) -> None:
    project.go("training.gradient_checkpointing=true")
    for stage in ("sft", "judge", "aligned"):
        for row, expected in zip(project.metrics(stage), finished.metrics(stage), strict=True):
            assert row == pytest.approx(expected, abs=1e-4)


def test_rows_that_are_too_long_are_written_beside_the_result(project: Project) -> None:
    rows = list(read_jsonl(project.folder / "demonstrations.jsonl"))
    write_rows(project.folder / "demonstrations.jsonl", [*rows, {"prompt": "Q", "completion": "long " * 60}])
    stages = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    stages["stages"] = stages["stages"][:1]
    project.recipe.write_text(yaml.safe_dump(stages), encoding="utf-8")
    project.go("sft.training.max_tokens=100")
    (rejected,) = read_jsonl(project.run / "sft" / "rejected.jsonl")
    assert "more than the 100 that max_tokens and the model's context allow" in rejected["reason"]
    assert rejected["where"].endswith("demonstrations.jsonl, line 13")
    result = read_json(project.run / "sft" / "result.json")
    assert (result["examples"], result["rejected"]) == (12, 1)
    with pytest.raises(DataError, match=r"rows are refused, .* tokens, more than the 3 that"):
        project.go("sft.training.max_tokens=3")


@pytest.mark.parametrize(
    ("overrides", "error", "sentence"),
    [
        (["sft.data=absent.jsonl"], DataError, r"no data at absent\.jsonl; give <stage>/<part> or the path"),
        (
            ["judge.data=sft/preferences"],
            DataError,
            "stage 'sft' has no part 'preferences'; it has metrics, rejected",
        ),
        (["model.name=./absent"], ModelError, r"no model folder at \./absent"),
        (["judge.num_layers=9"], ModelError, r"lacks the weight model\.layers\.3"),
        (["sft.trainable.layers=7"], ModelError, "7 layers should learn, but the model has 3"),
        (["aligned.sampling.top_p=0.9"], ConfigError, "sampling: top_p would sample from another distribution"),
    ],
)
def test_what_a_user_can_mend_is_said(
    copied: Project, overrides: list[str], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        copied.go(*overrides)


def test_a_run_folder_that_cannot_be_is_said(project: Project) -> None:
    with pytest.raises(RunError, match=r"the run folder .* cannot be written \(.*\); set run to another\."):
        project.go(f"run={project.recipe}")


def test_a_run_folder_with_any_name(project: Project) -> None:
    folder = project.folder / "[运行] [" / "b]"
    assert project.go(f"run={folder}") == folder / "report.html"


def test_a_gpu_that_is_not_there_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"PyTorch finds no GPU; set model\.device to auto or cpu"):
        project.go("model.device=cuda")
    assert not project.run.exists()


def test_numbers_that_are_not_finite_stop_the_run_and_say_so(project: Project) -> None:
    with pytest.raises(RunError, match=r"is not finite .*; lower training\.learning_rate"):
        project.go(*DIVERGING)
    rows = (project.run / "sft" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(row)["loss"] is not None for row in rows)


def test_best_of_n_stands_beside_the_candidate(project: Project) -> None:
    project.go("report.best_of={n: 3, judge: judge}")
    found = read_json(project.run / "report" / "result.json")
    assert found["models"][-1] == "aligned, best of 3"
    rows = {row["model"]: row for row in found["table"]}
    best, plain = (rows[name]["scores"]["judge"]["mean"] for name in ("aligned, best of 3", "aligned"))
    assert best >= plain
    page = (project.run / "report.html").read_text(encoding="utf-8")
    assert "aligned, best of 3" in page
    assert found["best_of"]["kl_bound"] == pytest.approx(math.log(3) - 2 / 3)
    assert "nats for any judge" in page
    with pytest.raises(ConfigError, match="is not among the judges"):
        project.go("report.best_of={n: 3, judge: ridge}")
    with pytest.raises(ConfigError, match=r"more than sampling\.completions"):
        project.go("report.best_of={n: 9, judge: judge}")


def test_texts_for_perplexity_are_spread_evenly() -> None:
    from gnomon.stages.evaluate import evenly_spaced

    texts: Any = list(range(10))
    assert evenly_spaced(texts, None) == evenly_spaced(texts, 10) == texts
    found: Any = evenly_spaced(texts, 4)
    assert found == [0, 2, 5, 7]
