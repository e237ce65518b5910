"""Recipes of several rewards, phases, pools and an SFT term, run on a tiny model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project, Ran, environment
from safetensors.torch import load_file

from gnomon.core.errors import ConfigError
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.pipeline.recipe import load_recipe


def changed(project: Project, **keys: Any) -> Project:
    """The project's recipe with `aligned` and its evaluation changed."""
    content = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    (row,) = [row for row in content["stages"] if row["name"] == "aligned"]
    if "phases" in keys:
        row.clear()
        row["name"] = "aligned"
        row["model"] = "sft"
    row.update(keys)
    project.recipe.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return project


def phases(folder: Path) -> list[dict[str, Any]]:
    online = {"reward": "judge", "prompts": str(folder / "prompts.jsonl")}
    small = {"completions": 2, "max_tokens": 6}
    rounds = {"steps": 3, "prompts_per_step": 3, "truncation_score": None}
    return [
        {"name": "warm-up", "algorithm": "dpo", "data": str(folder / "preferences.jsonl")},
        {
            "name": "main",
            "algorithm": "rloo",
            **online,
            "sampling": small,
            "training": rounds,
            "until": {"metric": "kl", "above": -1.0},
        },
        {"name": "settle", "algorithm": "ipo", "data": str(folder / "preferences.jsonl")},
    ]


def test_phases_share_a_policy_and_end_by_their_metric(project: Project) -> None:
    changed(project, phases=phases(project.folder))
    project.go()
    result = read_json(project.run / "aligned" / "result.json")
    assert result["algorithm"] == "dpo → rloo → ipo"
    assert [found["steps"] for found in result["phases"].values()][1] == 1  # the KL is above −1 at once
    assert len(project.metrics("aligned/main")) == 1
    weights = [load_file(project.run / "aligned" / n / "weights.safetensors") for n in ("warm-up", "settle")]
    assert any((weights[0][key] != weights[1][key]).any() for key in weights[0])
    assert (project.run / "aligned" / "model" / "config.json").exists()
    assert (project.run / "report.html").exists()


def test_a_metric_that_never_comes_is_said_after_the_first_step(project: Project) -> None:
    rows = phases(project.folder)
    rows[1]["until"] = {"metric": "kll", "above": 1.0}
    changed(project, phases=rows)
    with pytest.raises(
        ConfigError, match=r"phase 'main': until\.metric is 'kll', unknown here; did you mean 'kl'\?"
    ):
        project.go()
    assert len(project.metrics("aligned/main")) == 1


def test_a_metric_of_validation_may_come_later(project: Project) -> None:
    (row, *_) = phases(project.folder)
    row["training"] = {"batch_size": 1, "epochs": 2, "validation": {"share": 0.25, "every": 2}}
    row["until"] = {"metric": "validation_loss", "above": 0.0}
    changed(project, phases=[row])
    project.go()
    assert len(project.metrics("aligned/warm-up")) == 2
    row["until"] = {"metric": "validation_los", "above": 0.0}
    with pytest.raises(ConfigError, match=r"did you mean 'validation_loss'\?"):
        changed(project, phases=[row]).go()


def test_a_phase_that_is_done_is_not_done_again(project: Project) -> None:
    changed(project, phases=phases(project.folder))
    project.go()
    first = project.metrics("aligned/settle")
    (project.run / "aligned" / "result.json").unlink()
    for name in ("main", "settle"):
        (project.run / "aligned" / name / "result.json").unlink()
    before = (project.run / "aligned" / "warm-up" / "metrics.jsonl").stat().st_mtime_ns
    project.go()
    assert (project.run / "aligned" / "warm-up" / "metrics.jsonl").stat().st_mtime_ns == before
    assert project.metrics("aligned/settle") == first


def test_parts_pools_and_an_sft_term(project: Project) -> None:
    """A reward of three parts, prompts from two pools, demonstrations beside PPO."""
    folder = project.folder
    (folder / "brief.py").write_text("def score(prompt, text):\n    return -len(text) / 10\n", encoding="utf-8")
    (folder / "more.jsonl").write_text(json.dumps({"prompt": "再说一部电影？"}) + "\n", encoding="utf-8")
    parts = [
        {"of": "judge", "whiten": True},
        {"of": f"{folder / 'brief.py'}:score", "name": "brief", "weight": 0.5},
        {"rule": "repetition", "n": 2},
    ]
    changed(
        project,
        reward=parts,
        prompts={str(folder / "prompts.jsonl"): 1.0, str(folder / "more.jsonl"): 2.0},
        sft_mix={"data": str(folder / "demonstrations.jsonl"), "weight": 0.2, "batch_size": 3},
    )
    project.go()
    rows = project.metrics("aligned")
    assert {"score_judge", "score_brief", "score_repetition", "sft_loss"} <= set(rows[0])
    assert all(row["sft_loss"] > 0 for row in rows)


@pytest.mark.long
def test_refused_rows_of_the_sft_term_are_kept_where_it_is_said(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an offline stage by its own limit of tokens, of an online one by the usual; in a phase's own folder."""
    rows = [{"prompt": "Q", "completion": word} for word in ("good", "long " * 30, "long " * 250)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (project.folder / "shown.jsonl").write_text(lines, encoding="utf-8")
    parts = phases(project.folder)[:2]
    for part in parts:
        part["sft_mix"] = {"data": str(project.folder / "shown.jsonl"), "batch_size": 1}
    parts[0]["training"] = {"max_tokens": 100}
    changed(project, phases=parts).go()
    said = "".join(capsys.readouterr().err.split())
    for name, refused in (("warm-up", 2), ("main", 1)):
        path = project.run / "aligned" / name / "rejected.jsonl"
        assert len(list(read_jsonl(path))) == refused
        first = f"{refused}of3rowsof{project.folder / 'shown.jsonl'}refused,thefirstatline{4 - refused}:"
        assert re.search(f"{re.escape(first)}.*;see{re.escape(str(path))}", said), said


def test_sources_that_use_one_id_for_two_prompts_stay_apart(project: Project) -> None:
    """Each source has a q of its own, and both are in every batch."""
    for name, said in (("one", "A?"), ("two", "And the other, longer?")):
        prompt = {"id": "q", "messages": [{"role": "user", "content": said}]}
        row = {"prompt": prompt, "completion": f"It was {name}."}
        (project.folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    both = {str(project.folder / f"{name}.jsonl"): 1.0 for name in ("one", "two")}
    changed(project, prompts=both, sampling={"completions": 2, "max_tokens": 6})
    project.go(f"sft.data={json.dumps(both)}", "sft.training.batch_size=2", "aligned.training.prompts_per_step=6")
    rows = list(read_jsonl(project.run / "aligned" / "samples.jsonl"))
    assert {row["prompt"] for row in rows} == {"A?", "And the other, longer?"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"algorithm": "grpo", "sampling": {"completions": 1}}, "set it to 2 or more"),
        ({"algorithm": "rto"}, "rto needs the key 'token_reward'"),
        ({"token_reward": "sft"}, "has no use for the key 'token_reward'"),
        ({"phases": [{"algorithm": "sft"}]}, "phase 1: sft needs the key 'data'"),
        ({"phases": [{"algorithm": "sft", "data": "x", "model": "base"}]}, "belong to the stage"),
        ({"phases": [{"algorithm": "reward_model", "data": "x"}]}, "trains no policy"),
        ({"phases": []}, "at least 1"),
        ({"reward": [{"rule": "lenght"}]}, "reward"),
    ],
)
def test_what_is_wrong_is_said(project: Project, keys: dict[str, Any], said: str) -> None:
    changed(project, **keys)
    with pytest.raises(ConfigError, match=said):
        load_recipe(project.recipe)


def test_defaults_of_the_papers_are_under_the_users(project: Project) -> None:
    changed(project, algorithm="grpo", sampling={"completions": 4})
    stage: Any = {s.name: s for s in load_recipe(project.recipe).stages}["aligned"]
    assert (stage.loop.kl.placement, stage.loop.kl.coef, stage.loop.minibatches) == ("loss", 0.04, 1)
    stage = {s.name: s for s in load_recipe(project.recipe, ["aligned.training.kl.coef=0.5"]).stages}["aligned"]
    assert (stage.loop.kl.placement, stage.loop.kl.coef) == ("loss", 0.5)


def test_metrics_go_to_tensorboard_where_asked(project: Project) -> None:
    project.go("track=[tensorboard]")
    assert list((project.run / "aligned" / "tensorboard").glob("events*"))


def test_a_hybrid_is_shown_phase_by_phase(
    project: Project, ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By check, by trackers and by the report."""
    rows = phases(project.folder)[:2]
    del rows[1]["until"]
    changed(project, phases=rows)
    _, out, _ = ask("check", project.recipe)
    assert "aligned: phases: dpo, rloo" in out.splitlines()
    monkeypatch.setattr("gnomon.stages.common.trained.peak_device_memory", lambda: {"peak_device_memory_gb": 1.5})
    page = project.go("track=[tensorboard]").read_text(encoding="utf-8")
    for name in ("warm-up", "main"):
        assert list((project.run / "aligned" / name / "tensorboard").glob("events*"))
        assert f"aligned/{name}</" in page
    assert not (project.run / "main").exists()
    assert read_json(project.run / "aligned" / "result.json")["peak_device_memory_gb"] == 1.5


@pytest.mark.long
def test_two_processes_run_a_recipe(project: Project) -> None:
    """What `accelerate launch` does; the first process writes, and the numbers are those of one.

    A rounding difference may turn a sampled token, so online rounds are compared up to the first update.
    """
    project.go()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    found = subprocess.run(
        [*launch, "-m", "gnomon", "run", str(project.recipe), f"run={project.folder / 'two'}"],
        env={**environment(), "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    for stage, compared in (("sft", 6), ("judge", 2), ("aligned", 1)):
        alone = project.metrics(stage)
        lines = (project.folder / "two" / stage / "metrics.jsonl").read_text().splitlines()
        assert len(alone) == len(lines)
        for one, line in list(zip(alone, lines, strict=True))[:compared]:
            two = {key: value for key, value in json.loads(line).items() if key in one}
            assert one == pytest.approx(two, rel=1e-2, abs=1e-4)
    assert (project.folder / "two" / "report.html").exists()
