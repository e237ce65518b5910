"""Judges of one's own that count as independent, and those of which that is said wrongly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project, Ran, write_rows

from gnomon.core.errors import ConfigError
from gnomon.core.progress import StopSignal
from gnomon.core.storage.files import read_json, write_json
from gnomon.models.engine.device import find_compute
from gnomon.pipeline.recipe import build_recipe
from gnomon.reporting.run_reader import read_run
from gnomon.reporting.verdict import judge_run
from gnomon.stages.common.independence.ancestry import ancestry
from gnomon.stages.common.independence.judges import judges_of
from gnomon.stages.evaluate import EvaluateStage
from gnomon.stages.workspace import Workspace

FILMS = ("花样年华", "一一", "悲情城市", "小城之春", "霸王别姬", "活着")
TRAINING = {"micro_batch_tokens": 256, "learning_rate": 0.02, "warmup": 0, "schedule": "constant"}


def chinese(folder: Path, model: Path) -> dict[str, Any]:
    """Two halves of a set of Chinese preferences, with a judge that learns from each; SFT learns from neither."""
    for name, films in (("learned", FILMS[:3]), ("held_out", FILMS[3:])):
        rows = [
            {"prompt": f"《{film}》好看吗？", "chosen": good, "rejected": bad}
            for film in films
            for good, bad in (("好看好看。", "不。"), ("好好好。", "差。"))
        ]
        write_rows(folder / f"{name}.jsonl", rows)
    write_rows(folder / "prompts.jsonl", [{"prompt": f"《{film}》好看吗？"} for film in FILMS])
    write_rows(
        folder / "demonstrations.jsonl",
        [{"prompt": f"《{film}》好看吗？", "completion": "好好好。"} for film in FILMS[:3]] * 4,
    )
    (folder / "words.py").write_text("def score(prompt, text):\n    return text.count('好')\n", encoding="utf-8")
    return {
        "run": str(folder / "run"),
        "language": "zh",
        "seed": 1,
        "model": {"name": str(model), "rank": 4, "device": "cpu", "precision": "float32"},
        "training": TRAINING,
        "stages": [
            {
                "name": "judge",
                "algorithm": "reward_model",
                "data": str(folder / "learned.jsonl"),
                "num_layers": 1,
            },
            {
                "name": "other",
                "algorithm": "reward_model",
                "data": str(folder / "held_out.jsonl"),
                "num_layers": 1,
            },
            {
                "name": "aligned",
                "algorithm": "sft",
                "data": str(folder / "demonstrations.jsonl"),
                "training": {"epochs": 60, "batch_size": 4},
            },
            {
                "name": "report",
                "evaluate": ["base", "aligned"],
                "judges": [
                    "judge",
                    {"judge": "other", "independent": True},
                    {"judge": f"{folder / 'words.py'}:score", "independent": True},
                ],
                "prompts": str(folder / "prompts.jsonl"),
                "sampling": {"completions": 16, "max_tokens": 12},
            },
        ],
    }


def test_the_command_line_names_independent_judges(ask: Callable[..., Ran], runs: Path) -> None:
    code, _, err = ask(
        "evaluate", "m/a", "m/b", "--prompts", "p.jsonl", "--judges", "vader", "--independent", "x"
    )
    assert (code, "independent names 'x', which is not among the judges" in " ".join(err.split())) == (2, True)


def project(folder: Path, content: dict[str, Any]) -> Project:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return Project(folder, folder / "recipe.yaml")


@pytest.mark.long
def test_chinese_preferences_reach_a_verdict_by_judges_of_one_s_own(tmp_path: Path, tiny_model: Path) -> None:
    mine = project(tmp_path, chinese(tmp_path, tiny_model))
    page = mine.go().read_text(encoding="utf-8")
    result = read_json(mine.run / "report" / "result.json")
    assert [judge["independent"] for judge in result["judges"]] == [False, True, True]
    assert "独立" in page
    assert "本次比较中没有独立于训练的评判者" not in page
    stage = next(stage for stage in read_run(mine.run).stages if stage.name == "report")
    verdict = judge_run(stage.result)  # type: ignore[arg-type]  # an evaluation
    assert not verdict.no_independent_judge
    assert [one.independent for one in verdict.judge_verdicts] == [False, True, True]
    words = next(o for o in verdict.judge_verdicts if o.win_rate.judge.endswith("score"))
    assert words.finding == "better", "it learned to write 好"
    assert not any(check.get("judge") == "judge" for check in result["checks"]), (
        "an involved judge checks nothing"
    )


def made(run: Path, name: str, **stage: Any) -> Path:
    """The folder that a finished training leaves: what it was told, and a model with weights of its own."""
    model = run / name / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}", encoding="utf-8")
    (model / "model.safetensors").write_bytes(name.encode())
    write_json(run / name / "stage.json", {"key": name, "stage": {"name": name, "model": "base", **stage}})
    return model


def judged(run: Path, judge: str, *, models: tuple[str, ...] = ("aligned",), **more: Any) -> dict[str, Any]:
    """What an evaluation finds of a judge that its recipe calls independent."""
    stages = [{"name": "e", "evaluate": list(models), "judges": [judge], "prompts": "p.jsonl", **more}]
    stage = EvaluateStage.model_validate({"independent": [judge], **stages[0]})
    recipe = build_recipe(
        {"run": str(run), "model": {"name": "m"}, "stages": [{**stages[0], "evaluate": ["m/m"]}]}, "r"
    )
    work = Workspace(run, recipe, find_compute("cpu", "float32"), StopSignal())
    (found,) = judges_of(stage, work)
    return found


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run that was aligned to a judge, and others that trained judges: folders of finished stages."""
    rows = [{"prompt": f"《{film}》？", "chosen": "好看。", "rejected": "不。"} for film in FILMS]
    write_rows(tmp_path / "learned.jsonl", rows[:3])
    write_rows(tmp_path / "other.jsonl", rows[3:])
    write_rows(tmp_path / "mixed.jsonl", rows[2:])
    run, train = tmp_path / "run", {"algorithm": "reward_model"}
    made(run, "judge", **train, data=str(tmp_path / "learned.jsonl"))
    made(run, "aligned", algorithm="ppo", reward=[{"of": "judge"}, {"of": f"{tmp_path}/words.py:score"}])
    for name in ("other", "mixed"):
        made(tmp_path / "elsewhere", name, **train, data=str(tmp_path / f"{name}.jsonl"))
    made(tmp_path / "elsewhere", "further", **train, model=str(run / "judge"), data=str(tmp_path / "other.jsonl"))
    shutil.copytree(run / "judge" / "model", tmp_path / "copy")
    return run


def why(found: dict[str, Any]) -> str:
    assert found["independent"] is False
    return str(found["dependence"]["reason"])


def test_a_judge_trained_on_other_rows_is_independent(runs: Path) -> None:
    other = str(runs.parent / "elsewhere" / "other")
    assert judged(runs, other) == {"name": other, "independent": True}


def test_the_reward_of_the_training_is_not_by_whatever_name(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why(judged(runs, str(runs / "judge"))) == "reward"
    assert why(judged(runs, str(runs / "judge" / "model"))) == "reward"
    assert "does not count as independent: training used it as its reward" in " ".join(
        capsys.readouterr().err.split()
    )
    monkeypatch.chdir(tmp_path)
    assert why(judged(runs, "words.py:score")) == "reward"
    assert judged(runs, "words.py:other")["independent"]
    assert why(judged(runs, "./copy")) == "weights"


def test_a_judge_that_grew_out_of_the_reward_is_not(runs: Path) -> None:
    assert why(judged(runs, str(runs.parent / "elsewhere" / "further"))) == "derived"


def test_a_judge_that_learned_from_the_same_rows_is_not(runs: Path) -> None:
    """One film of four is in both files, under another file's name: two texts of its eight."""
    found = judged(runs, str(runs.parent / "elsewhere" / "mixed"))
    assert found["dependence"] == {"reason": "rows", "count": 2, "of": 8}
    assert judged(runs, str(runs.parent / "elsewhere" / "mixed"), models=("base",))["independent"]


def test_a_lexicon_is_independent_until_it_rewards(runs: Path) -> None:
    assert judged(runs, "vader")["independent"]
    made(runs, "pleased", algorithm="grpo", model="aligned", reward="vader")
    assert why(judged(runs, "vader", models=("base", "pleased"))) == "reward"


def test_ridge_is_not_independent_where_training_read_its_texts(runs: Path) -> None:
    """Rated texts stand without their prompts, so they are compared without them."""
    reserved = runs.parent / "reserved.jsonl"
    for text, independent in (("好看。", False), ("难看。", True)):
        write_rows(reserved, [{"id": "1", "text": text, "ratings": [1]}])
        assert judged(runs, "ridge", judge_holdout=str(reserved))["independent"] is independent


def test_ancestors_are_those_of_all_phases_and_rewards(runs: Path, tmp_path: Path) -> None:
    phases = [
        {"algorithm": "dpo", "data": str(tmp_path / "other.jsonl")},
        {"algorithm": "ppo", "reward": "judge", "sft_mix": {"data": str(tmp_path / "mixed.jsonl")}},
    ]
    made(runs, "hybrid", phases=phases)
    found = ancestry("hybrid", runs)
    assert {Path(one).parent.name for one in found.rewards} == {"judge"}
    assert {one.path.name for one in found.data} == {"learned.jsonl", "other.jsonl", "mixed.jsonl"}
    assert {one.path.name for one in found.judgements} == {"learned.jsonl"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"judges": [{"judge": "judge", "independent": True}]},
            "'judge' is declared independent, but it is the reward",
        ),
        (
            {"judges": [{"judge": "other", "independent": True}]},
            "trained on a.jsonl, as the training is; give it other",
        ),
        ({"judges": [{"judge": "fair", "independant": True}]}, "unknown key 'independant'"),
        (
            {"judges": ["vader"], "independent": ["fair"]},
            "independent names 'fair', which is not among the judges",
        ),
        ({"judges": ["vader", {"judge": "vader"}]}, "judges names 'vader' twice"),
    ],
)
def test_what_the_recipe_itself_shows_is_refused(changed: dict[str, Any], said: str) -> None:
    rm = {"algorithm": "reward_model", "num_layers": 1}
    stages: list[dict[str, Any]] = [
        {"name": "judge", **rm, "data": "a.jsonl"},
        {"name": "other", **rm, "data": "a.jsonl"},
        {"name": "fair", **rm, "data": "b.jsonl"},
        {"name": "aligned", "algorithm": "ppo", "reward": "judge", "prompts": "p.jsonl"},
        {"name": "report", "evaluate": ["base", "aligned"], "prompts": "p.jsonl", **changed},
    ]
    with pytest.raises(ConfigError, match=said):
        build_recipe({"run": "r", "model": {"name": "m"}, "stages": stages}, "r.yaml")
    stages[-1]["judges"] = [{"judge": "fair", "independent": True}, "judge"]
    stages[-1].pop("independent", None)
    evaluation = build_recipe({"run": "r", "model": {"name": "m"}, "stages": stages}, "r.yaml").stages[-1]
    assert (evaluation.judges, evaluation.independent) == (["fair", "judge"], ["fair"])
