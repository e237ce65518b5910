"""Cards of a run's models: lineage, recipe and figures, the same for the same run, and left alone once edited."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from project import Project, make_project, write_rows

from gnomon.core.storage.digests import digest_file
from gnomon.core.storage.files import read_json, write_json
from gnomon.core.storage.sealed_files import is_sealed
from gnomon.pipeline.recipe import build_recipe, load_recipe
from gnomon.stages.common.model_cards import stages_behind
from gnomon.stages.common.results import TrainResult
from gnomon.stages.feedback import FeedbackResult

CARD = "model/README.md"


def card(run: Path, name: str) -> Any:
    return ModelCard.load(run / name)


def recipe_in(text: str) -> dict[str, Any]:
    """The recipe that a card has."""
    content: dict[str, Any] = yaml.safe_load(text.split("```yaml\n")[1].split("\n```")[0])
    return content


def rewrite(project: Project, *stages: dict[str, Any]) -> None:
    """Give a project's recipe other stages."""
    content = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    project.recipe.write_text(yaml.safe_dump({**content, "stages": list(stages)}), encoding="utf-8")


def sft(project: Project, **keys: Any) -> dict[str, Any]:
    return {
        "name": "sft",
        "algorithm": "sft",
        "data": str(project.folder / "demonstrations.jsonl"),
        "training": {"epochs": 1, "batch_size": 12},
        **keys,
    }


def test_a_card_has_the_figures_that_the_evaluation_measured(finished: Project) -> None:
    result = read_json(finished.run / "report" / "result.json")
    aligned = card(finished.run, f"aligned/{CARD}")
    rates = [row for row in result["win_rates"] if row["model"] == "aligned"]
    assert len(rates) == 4  # against base and sft, by two judges
    measured = {one.metric_name: one.metric_value for one in aligned.data.eval_results}
    for row in rates:
        other, judge = row["against"], row["judge"]
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        name = f"win rate against {other} by {judge} (95% interval {interval})"
        assert measured[name] == round(row["rate"], 4)
        line = f"| win rate against `{other}` by `{judge}` | {row['rate']:.3f} | {interval} | `report` |"
        assert line in aligned.text
    assert aligned.text.count("the judge took part in the training, or may have |") == 3  # twice a rate, one mean
    (kl,) = [row["kl"] for row in result["table"] if row["model"] == "aligned"]
    assert f"| KL to `sft` | {kl:.3f} |" in aligned.text
    start = card(finished.run, f"sft/{CARD}")
    assert "| win rate over this model of `aligned` by `vader` |" in start.text
    assert {one.metric_type for one in start.data.eval_results} == {"mean_score"}
    assert "None has been measured yet." in card(finished.run, f"judge/{CARD}").text


def test_a_card_has_the_data_the_seed_and_the_part_of_the_recipe_that_leads_to_its_model(
    finished: Project,
) -> None:
    for name, start, stages, files in (
        (f"sft/{CARD}", "", ["sft"], ["demonstrations"]),
        (f"judge/{CARD}", "sft", ["sft", "judge"], ["demonstrations", "preferences"]),
        (f"aligned/{CARD}", "sft", ["sft", "judge", "aligned"], ["demonstrations", "preferences", "prompts"]),
        ("aligned/critic/README.md", "judge", ["sft", "judge", "aligned"], ["demonstrations"]),
    ):
        text = card(finished.run, name).text
        for file in files:
            path = finished.folder / f"{file}.jsonl"
            assert f"| `{path}` | `{digest_file(path)}` |" in text
        assert ("| trained from |" in text) == bool(start)
        assert f"| trained from | `{start}`, an earlier stage |" in text or not start
        assert "| seed | 3 |" in text
        content = recipe_in(text)
        assert [row["name"] for row in content["stages"]] == stages
        again = build_recipe({**content, "run": "elsewhere"}, "the card")
        own = load_recipe(finished.recipe)
        assert [s.model_dump() for s in again.stages if s.name != "aligned"] == [
            s.model_dump() | {"training": again.stages[n].training}
            for n, s in enumerate(own.stages[: len(stages)])
            if s.name != "aligned"
        ]
    assert "| training steps | 6 |" in card(finished.run, f"sft/{CARD}").text
    assert "| training steps | 2 |" in card(finished.run, "aligned/critic/README.md").text


def test_identical_runs_have_identical_cards_and_a_resumed_run_leaves_them(
    tmp_path: Path, tiny_model: Path, project: Project
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        rewrite(project, sft(project))
        project.go(f"run={tmp_path / name / 'run'}")
    first, second = (tmp_path / name / "run" / "sft" / CARD for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert is_sealed(first)
    before = first.stat().st_mtime_ns
    project.go(f"run={tmp_path / 'first' / 'run'}", "sft.training.micro_batch_tokens=128")
    assert first.stat().st_mtime_ns == before
    (first.parents[1] / "result.json").unlink()  # as a kill after the model was saved would leave it
    project.go(f"run={tmp_path / 'first' / 'run'}")
    assert first.read_bytes() == second.read_bytes()
    assert not (first.parents[1] / "model.1").exists()


def test_a_card_that_a_user_edited_is_left_by_a_later_evaluation(copied: Project) -> None:
    path = copied.run / "sft" / CARD
    path.write_text("# Ours\n", encoding="utf-8")
    other = copied.run / "aligned" / CARD
    before = other.read_text(encoding="utf-8")
    shutil.rmtree(copied.run / "report")
    copied.go("report.judges=[vader]")
    assert path.read_text(encoding="utf-8") == "# Ours\n"
    after = other.read_text(encoding="utf-8")
    assert "by `judge`" in before
    assert "by `judge`" not in after
    assert "by `vader`" in after
    assert is_sealed(other)


def test_judgements_are_traced_to_their_export_without_the_names_of_annotators(project: Project) -> None:
    folder = project.folder / "export"
    folder.mkdir()
    rows = folder / "demonstrations.jsonl"
    shutil.copy(project.folder / "demonstrations.jsonl", rows)
    manifest = {
        "project": "films|`x` at postgresql://ann:hunter2@host/db",
        "by": "dawid_skene",
        "digest": "ab" * 32,
        "judgements": 1234,
        "annotators": ["ann@example.com", "bob"],
        "files": {rows.name: digest_file(rows)},
    }
    write_json(folder / "manifest.json", manifest)
    rewrite(project, sft(project, data=str(rows)))
    project.go()
    text = card(project.run, f"sft/{CARD}").text
    shown = "``films\\|`x` at postgresql://ann:***@host/db``"
    assert f"| `{rows}` | {shown} | 1,234 | `2` | `dawid_skene` | `{'ab' * 32}` |" in text
    assert "hunter2" not in text
    assert "bob" not in text
    write_rows(rows, [{"prompt": "How was it?", "completion": "Good."}])
    project.go("sft.training.batch_size=1")
    assert f"`{'ab' * 32}`, **changed after the export** |" in card(project.run, f"sft/{CARD}").text


def test_a_recipe_in_a_card_has_no_password_and_no_home(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(project.folder))
    stage = {
        "name": "aligned",
        "algorithm": "rloo",
        "prompts": str(project.folder / "prompts.jsonl"),
        "reward": "vader",
        "sampling": {"completions": 2, "max_tokens": 4, "stop": ["postgresql://ann:hunter2@host/db"]},
        "training": {"steps": 1, "prompts_per_step": 2, "truncation_score": None},
    }
    rewrite(project, stage)
    project.go()
    text = card(project.run, f"aligned/{CARD}").text
    assert "hunter2" not in text
    (row,) = recipe_in(text)["stages"]
    assert row["sampling"]["stop"] == ["postgresql://ann:***@host/db"]
    assert row["prompts"] == "~/prompts.jsonl"


def test_a_training_without_a_recipe_file_has_a_card(project: Project, ask: Any) -> None:
    model = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))["model"]["name"]
    data = str(project.folder / "demonstrations.jsonl")
    code, _, errors = ask("train", "sft", "--model", model, "--data", data, "--out", project.run, "epochs=1")
    assert code == 0, errors
    text = card(project.run, f"sft/{CARD}").text
    assert f"| base model | `{model}` |" in text
    assert [row["algorithm"] for row in recipe_in(text)["stages"]] == ["sft"]


def test_the_stages_behind_a_model_are_those_it_names(tmp_path: Path, tiny_model: Path) -> None:
    recipe = load_recipe(make_project(tmp_path, tiny_model).recipe)
    names = [[s.name for s in stages_behind(stage, recipe.stages)] for stage in recipe.stages]
    assert names == [
        ["sft"],
        ["sft", "judge"],
        ["sft", "judge", "aligned"],
        ["sft", "judge", "aligned", "report"],
    ]


def test_phases_of_a_hybrid_stage_are_algorithms_of_one_card(project: Project) -> None:
    data = str(project.folder / "preferences.jsonl")
    phases = [{"algorithm": name, "data": data, "training": {"batch_size": 8}} for name in ("dpo", "ipo")]
    rewrite(project, {"name": "aligned", "phases": phases})
    project.go()
    aligned = card(project.run, f"aligned/{CARD}")
    assert aligned.data.tags == ["gnomon", "rlhf", "dpo", "ipo"]
    assert "| algorithm | `dpo`, then `ipo` |" in aligned.text
    steps = read_json(project.run / "aligned" / "result.json")["steps"]
    assert f"| training steps | {steps} |" in aligned.text
    (row,) = recipe_in(aligned.text)["stages"]
    assert [phase["training"]["batch_size"] for phase in row["phases"]] == [8, 8]
    assert "micro_batch_tokens" not in row["phases"][0]["training"]


def test_a_reward_model_has_its_own_figures_and_those_of_one_person() -> None:
    rows = [
        {
            "name": "judge",
            "kind": "model",
            "pearson": 0.5,
            "pair_accuracy": 0.7,
            "pair_low": 0.6,
            "pair_high": 0.8,
        },
        {"name": "vader", "kind": "baseline", "pearson": 0.9, "pair_accuracy": 0.9},
        {"name": "one person", "kind": "human", "pearson": None, "pair_accuracy": 0.75},
    ]
    result = TrainResult.model_validate({"evaluation": {"rows": rows}})
    accuracy, correlation, person = result.figures_of("judge", "judge")
    assert (accuracy.name, accuracy.value, accuracy.low, accuracy.high) == ("pair accuracy", 0.7, 0.6, 0.8)
    assert (correlation.name, correlation.value, correlation.low) == ("correlation with people", 0.5, None)
    assert (person.about, person.value, person.own) == ((("of", "one person"),), 0.75, False)
    assert result.figures_of("other", "judge") == []


def test_ratings_are_a_source_of_judgements() -> None:
    counts = {"least": 2, "mean": 3.5, "most": 5}
    result = FeedbackResult.model_validate({"source": "mine.jsonl", "ratings": 210, "raters_per_item": counts})
    known = result.judgement_source("feedback")
    assert (known.source, known.store, known.judgements) == ("feedback", "mine.jsonl", 210)
    assert known.annotators == "2 to 5 a text"
