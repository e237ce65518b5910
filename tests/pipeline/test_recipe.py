"""A recipe is checked whole before anything runs: every stage has what it needs, and speaks of earlier ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gnomon.algorithms.ppo import PPO
from gnomon.algorithms.sft import SFT
from gnomon.core.errors import ConfigError
from gnomon.pipeline.recipe import Recipe, load_recipe
from gnomon.stages.contract import Stage
from gnomon.stages.evaluate import EvaluateStage
from gnomon.stages.feedback import FeedbackStage
from gnomon.stages.train import TrainStage
from gnomon.training.settings import OfflineSettings, OnlineSettings

FEEDBACK = {"name": "people", "feedback": "film-reviews"}
SFT_STAGE = {"name": "sft", "algorithm": "sft", "data": "people/demonstrations"}
JUDGE = {"name": "judge", "algorithm": "reward_model", "model": "sft", "data": "people/preferences"}
ALIGNED = {"name": "aligned", "algorithm": "ppo", "model": "sft", "reward": "judge", "prompts": "people/prompts"}
REPORT = {
    "name": "report",
    "evaluate": ["base", "sft", "aligned"],
    "judges": ["judge", "vader"],
    "prompts": "people/held_out_prompts",
    "texts": "people/held_out",
    "reference": "sft",
}
STAGES: list[dict[str, Any]] = [FEEDBACK, SFT_STAGE, JUDGE, ALIGNED, REPORT]


def written(tmp_path: Path, stages: Any = STAGES, **top: Any) -> Path:
    path = tmp_path / "recipe.yaml"
    content = {"run": "runs/x", "model": {"name": "m"}, "stages": stages, **top}
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v != "absent"}), encoding="utf-8")
    return path


def stages_with(name: str, /, **changes: Any) -> list[dict[str, Any]]:
    """The stages with keys of one of them changed, or removed where the value is `absent`."""
    rows = [{**row, **changes} if row["name"] == name else dict(row) for row in STAGES]
    return [{k: v for k, v in row.items() if v != "absent"} for row in rows]


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as found:
        load_recipe(path, overrides)
    message = str(found.value)
    assert "\n" not in message
    return message


def by_name(recipe: Recipe) -> dict[str, Any]:
    return {stage.name: stage for stage in recipe.stages}


def test_stages_become_what_they_are(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path))
    assert [type(s) for s in recipe.stages] == [FeedbackStage, TrainStage, TrainStage, TrainStage, EvaluateStage]
    stage = by_name(recipe)
    assert stage["sft"].loop == OfflineSettings()
    assert stage["aligned"].loop == OnlineSettings()
    assert isinstance(stage["sft"].built_algorithm, SFT)
    assert stage["aligned"].built_algorithm == PPO()
    assert (stage["sft"].online, stage["aligned"].online) == (False, True)


def references(stage: Stage) -> list[tuple[str, str]]:
    return [(model.key, model.name) for model in stage.inputs().models]


def sources(stage: Stage) -> list[str]:
    return stage.inputs().sources


def test_references_and_sources(tmp_path: Path) -> None:
    stage = by_name(load_recipe(written(tmp_path, stages_with("report", judge_holdout="people/judge_holdout"))))
    assert references(stage["aligned"]) == [("model", "sft"), ("reward", "judge")]
    assert sources(stage["aligned"]) == ["people/prompts"]
    assert ("judges", "judge") in references(stage["report"])
    assert ("judges", "vader") not in references(stage["report"])
    assert ("candidate", "aligned") in references(stage["report"])
    assert sources(stage["report"]) == ["people/held_out_prompts", "people/held_out", "people/judge_holdout"]
    assert not references(stage["people"])
    assert not sources(stage["people"])


def test_training_for_all_stages_reaches_each_as_a_number(tmp_path: Path) -> None:
    stage = by_name(load_recipe(written(tmp_path), ["training.learning_rate=1e-6", "sft.training.epochs=2"]))
    rates = [stage[name].loop.learning_rate for name in ("sft", "judge", "aligned")]
    assert rates == [1e-6] * 3
    assert all(type(rate) is float for rate in rates)
    assert [stage[name].loop.epochs for name in ("sft", "judge", "aligned")] == [2, 1, 1]


def test_a_stage_says_it_over_the_recipe_and_an_override_over_both(tmp_path: Path) -> None:
    path = written(
        tmp_path, stages_with("judge", training={"learning_rate": 0.5}), training={"learning_rate": 0.1}
    )
    stage = by_name(load_recipe(path))
    assert (stage["sft"].loop.learning_rate, stage["judge"].loop.learning_rate) == (0.1, 0.5)
    stage = by_name(load_recipe(path, ["training.learning_rate=0.2"]))
    assert (stage["sft"].loop.learning_rate, stage["judge"].loop.learning_rate) == (0.2, 0.2)


def test_a_training_key_reaches_only_the_loops_that_know_it(tmp_path: Path) -> None:
    stage = by_name(load_recipe(written(tmp_path), ["training.steps=5", "training.kl.target=3"]))
    assert (stage["aligned"].loop.steps, stage["aligned"].loop.kl.target) == (5, 3)
    assert stage["sft"].loop == stage["judge"].loop == OfflineSettings()
    stage = by_name(load_recipe(written(tmp_path, training={"steps": 7, "max_tokens": 99})))
    assert (stage["aligned"].loop.steps, stage["sft"].loop.max_tokens) == (7, 99)


def test_a_training_key_that_no_loop_knows_is_refused(tmp_path: Path) -> None:
    message = refused(written(tmp_path), "training.stepz=5")
    assert "training: unknown key 'stepz' in every training stage; did you mean 'steps'?" in message
    assert "unknown key 'steps'" in refused(written(tmp_path, STAGES[:3]), "training.steps=5")
    assert "would replace all of training" in refused(written(tmp_path), "training={}")


def test_the_critic_starts_from_the_reward_or_from_the_policy(tmp_path: Path) -> None:
    for changes, expected in (
        ({}, "judge"),
        ({"critic": "base"}, "base"),
        ({"reward": "./mine.py:score"}, "sft"),
        ({"reward": "vader"}, "sft"),
        ({"reward": "org/rm"}, "org/rm"),
    ):
        stage = by_name(load_recipe(written(tmp_path, stages_with("aligned", **changes))))["aligned"]
        assert stage.critic_model == expected


def test_an_evaluation_compares_with_the_first_and_needs_no_texts(tmp_path: Path) -> None:
    rows = stages_with("report", reference="absent", texts="absent", judges=["vader", "./j", "a.py:f"])
    stage = by_name(load_recipe(written(tmp_path, rows)))["report"]
    assert (stage.reference, stage.texts) == ("base", None)
    assert [name for key, name in references(stage) if key == "judges"] == ["./j"]


def test_overrides_of_all_depths(tmp_path: Path) -> None:
    recipe = load_recipe(
        written(tmp_path, stages_with("aligned", training=None)),
        [
            "run=runs/第二", "seed=7", "model.rank=4", "aligned.training.kl.target=null",
            "aligned.settings.clip_low=0.1",
            "aligned.sampling.completions=4", "report.judges=[vader]", "sft.model=base",
        ],
    )  # fmt: skip
    stage = by_name(recipe)
    assert (recipe.run, recipe.seed, recipe.model.rank) == ("runs/第二", 7, 4)
    assert stage["aligned"].loop.kl.target is None
    assert stage["aligned"].loop.kl.coef == OnlineSettings().kl.coef
    assert stage["aligned"].built_algorithm == PPO(clip_low=0.1)
    assert stage["aligned"].sampling.completions == 4
    assert stage["report"].judges == ["vader"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("sftt.training.epochs=2", "unknown key 'sftt'; did you mean 'sft'?"),
        ("sft=3", "override 'sft=3' would replace a whole stage"),
        ("stages=[]", "override 'stages=[]' would replace a whole stage"),
        ("sft", "is not of the form key.subkey=value"),
        ("sft.training.epoch=2", "stage 'sft', training: unknown key 'epoch'; did you mean 'epochs'?"),
        ("sft.trainning.epochs=2", "unknown key 'trainning'; did you mean 'training'?"),
        ("sft.training.epochs=abc", "training: epochs: input should be a valid number"),
        ("sft.training.epochs=0", "training: epochs: must be at least 1e-06 and at most 1e+06, not 0, since"),
        ("sft.training.epochs=.inf", "training: epochs: must be finite and at least 1e-06"),
        ("sft.training.epochs.x=1", "training: epochs: input should be a valid number"),
        ("sft.training=5", "training is not a mapping"),
        ("aligned.training.kl.targt=1", "unknown key 'kl.targt'; did you mean 'target'?"),
        (
            "aligned.settings.clip_lo=0.1",
            "stage 'aligned', settings: unknown key 'clip_lo'; did you mean 'clip_low'?",
        ),
        ("aligned.settings.needs=[]", "unknown key 'needs'"),
        ("sft.settings.clip_low=0.1", "unknown key 'clip_low'; there are no keys here"),
        ("aligned.sampling.completion=4", "unknown key 'sampling.completion'; did you mean 'completions'?"),
        ("aligned.sampling.temperature=0", "sampling: temperature would sample from another distribution"),
        ("model.nam=x", "unknown key 'model.nam'; did you mean 'name'?"),
        ("model.device=gpu", "model.device: input should be 'auto', 'cpu' or 'cuda'"),
        ("model.precision=float16", "model.precision: input should be 'auto', 'float32' or 'bfloat16'"),
        ("language=fr", "language: input should be 'en' or 'zh'"),
        ("seed=first", "seed: input should be a valid integer"),
        ("model=x", "model has settings of its own; write model: {name: …}."),
        ("training.epochs=0", "training: epochs: must be at least 1e-06 and at most 1e+06, not 0, since"),
    ],
)
def test_a_wrong_override_is_one_sentence(tmp_path: Path, override: str, sentence: str) -> None:
    assert sentence in refused(written(tmp_path), override)


@pytest.mark.parametrize(
    ("top", "sentence"),
    [
        ({"stages": "absent"}, "'stages' is missing or not a list"),
        ({"stages": []}, "give at least one stage"),
        ({"stages": {"sft": {}}}, "'stages' is missing or not a list"),
        ({"stages": ["sft"]}, "'stages' is missing or not a list of mappings"),
        ({"run": "absent"}, "run: field required"),
        ({"model": "absent"}, "model: field required"),
        ({"model": {}}, "model.name: field required"),
        ({"run": 5}, "run: input should be a valid string"),
        ({"trainig": {}}, "unknown key 'trainig'; did you mean 'training'?"),
        ({"training": 5}, "training: input should be a valid dictionary"),
        ({"model": {"name": "m", "adaptr": "lora"}}, "unknown key 'model.adaptr'; did you mean 'adapter'?"),
        ({"model": {"name": "m", "adapter": "qlora"}}, "model.adapter: input should be 'lora' or 'none'"),
    ],
)
def test_a_wrong_top_is_one_sentence(tmp_path: Path, top: dict[str, Any], sentence: str) -> None:
    path = written(tmp_path, **top)
    message = refused(path)
    assert sentence in message
    assert message.startswith(str(path))


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        # what each kind requires
        ("sft", {"data": "absent"}, "stage 2: sft needs the key 'data'"),
        ("judge", {"data": "absent"}, "stage 3: reward_model needs the key 'data'"),
        ("aligned", {"prompts": "absent"}, "stage 4: ppo needs the key 'prompts'"),
        ("aligned", {"reward": "absent"}, "stage 4: ppo needs the key 'reward'"),
        ("people", {"feedback": "films"}, "stage 1: feedback: 'films' is neither film-reviews nor a path"),
        *(
            ("report", {key: "absent"}, f"stage 5: {key}: field required")
            for key in ("judges", "prompts")
        ),
        ("report", {"evaluate": []}, "stage 5: evaluate: list should have at least 1 item"),
        ("report", {"judges": []}, "stage 5: judges: list should have at least 1 item"),
        ("sft", {"algorithm": "absent"}, "exactly one of the keys algorithm, augment, clean, evaluate, "),
        ("sft", {"evaluate": ["base"]}, "stage 2: a stage has exactly one of the keys"),
        # what has no place there
        ("aligned", {"data": "x.jsonl"}, "stage 4: ppo has no use for the key 'data'; remove it"),
        ("sft", {"prompts": "x.jsonl"}, "stage 2: sft has no use for the key 'prompts'; remove it"),
        ("sft", {"reward": "base"}, "stage 2: sft has no use for the key 'reward'; remove it"),
        ("sft", {"critic": "base"}, "stage 2: sft has no use for the key 'critic'; remove it"),
        ("sft", {"sampling": {"completions": 2}}, "stage 2: sft has no use for the key 'sampling'; remove it"),
        ("sft", {"num_layers": 3}, "stage 2: sft has no use for the key 'num_layers'; remove it"),
        ("sft", {"critic_trainable_layers": 1}, "sft has no use for the key 'critic_trainable_layers'"),
        ("sft", {"head": {"head": "mlp"}}, "stage 2: sft has no use for the key 'head'; remove it"),
        ("judge", {"sampling": {"max_tokens": 9}}, "stage 3: reward_model has no use for the key 'sampling'"),
        ("judge", {"critic_trainable_layers": 1}, "has no use for the key 'critic_trainable_layers'"),
        ("aligned", {"num_layers": 3}, "stage 4: ppo has no use for the key 'num_layers'; remove it"),
        *(
            ("aligned", {"algorithm": "rloo", **key}, f"stage 4: rloo has no use for the key '{next(iter(key))}'")
            for key in ({"critic": "judge"}, {"critic_trainable_layers": 1}, {"head": {"pooling": "mean"}})
        ),
        (
            "aligned",
            {"algorithm": "online_dpo", "training": {"kl": {"placement": "loss"}}},
            "training.kl.placement is loss, but the loss of online_dpo has no KL term; set it to reward.",
        ),
        ("people", {"trainin": 3}, "stage 1: unknown key 'trainin'; did you mean 'training'?"),
        ("sft", {"trainable": {"rankk": 1}}, "unknown key 'trainable.rankk'; did you mean 'rank'?"),
        ("sft", {"algorithm": "pppo"}, "stage 2: unknown algorithm 'pppo'; did you mean 'ppo'?"),
        ("sft", {"algorithm": ["ppo"]}, "stage 2: unknown algorithm"),
        (
            "aligned",
            {"reward": [{"rule": "format", "pattern": "a+"}, {"rule": "format", "pattern": "b+", "weight": 10}]},
            "stage 4: two parts of the reward are called 'format'; give one of them a name.",
        ),
        # names
        ("sft", {"name": "judge"}, "two stages are called 'judge'; rename one of them"),
        *(
            ("sft", {"name": word}, f"a stage may not be called '{word}'")
            for word in ("base", "vader", "ridge", "training", "model", "run", "seed", "language", "stages")
        ),
        ("sft", {"name": "../up"}, "stage 2: name: string should match pattern"),
        ("sft", {"name": 5}, "stage 2: name: input should be a valid string"),
        # of whom a stage speaks
        ("sft", {"model": "judge"}, "stage 'sft': model names 'judge', no earlier stage and no model here;"),
        ("sft", {"model": "sft"}, "stage 'sft': model names 'sft', no earlier stage"),
        ("aligned", {"model": "sfft"}, "model names 'sfft', no earlier stage and no model here; did you mean"),
        ("aligned", {"reward": "aligned"}, "stage 'aligned': reward names 'aligned', no earlier stage"),
        ("report", {"evaluate": ["sft", "alined"]}, "and no model here; did you mean 'aligned'?"),
        ("report", {"judges": ["vadr"]}, "judges names 'vadr', no earlier stage"),
        ("sft", {"data": "judge/preferences"}, "'judge/preferences' is data of a stage that is not earlier"),
        # and what it made
        ("aligned", {"reward": "sft"}, "reward names 'sft', which is no reward model"),
        ("aligned", {"reward": "base"}, "reward names 'base', which is no reward model"),
        ("aligned", {"model": "judge"}, "model names 'judge', which is no policy model"),
        ("aligned", {"model": "people"}, "model names 'people', which is no policy model"),
        ("aligned", {"critic": "people"}, "critic names 'people', which is no policy, reward or critic model"),
        ("report", {"evaluate": ["sft", "judge"]}, "evaluate names 'judge', which is no policy model"),
        ("report", {"judges": ["sft"]}, "judges names 'sft', which is no reward model"),
        # comparisons
        ("report", {"evaluate": ["base", "aligned"]}, "reference 'sft' is not among those in"),
        ("report", {"evaluate": ["base", "sft"], "candidate": "aligned"}, "candidate 'aligned' is not among"),
        ("report", {"evaluate": ["sft", "sft"]}, "evaluate names 'sft' twice"),
        ("report", {"judges": ["ridge"]}, "the judge ridge needs the key 'judge_holdout'"),
    ],
)  # fmt: skip
def test_a_wrong_stage_is_one_sentence(tmp_path: Path, name: str, changes: dict[str, Any], sentence: str) -> None:
    path = written(tmp_path, stages_with(name, **changes))
    message = refused(path)
    assert sentence in message, message


def test_sound_variants_pass(tmp_path: Path) -> None:
    for name, changes in (
        ("judge", {"model": "absent"}),
        ("aligned", {"critic": "base", "critic_trainable_layers": 1}),
        ("aligned", {"critic": "judge"}),
        ("aligned", {"algorithm": "reinforce", "settings": {"baseline": "critic"}, "critic": "base"}),
        ("aligned", {"algorithm": "rloo", "training": {"kl": {"placement": "loss"}}}),
        ("judge", {"num_layers": 2, "head": {"head": "mlp"}}),
        ("aligned", {"model": "base"}),
        ("report", {"judges": ["vader", "ridge"], "judge_holdout": "people/judge_holdout"}),
        ("report", {"evaluate": ["base", "sft"], "reference": "base", "candidate": "sft"}),
    ):
        load_recipe(written(tmp_path, stages_with(name, **changes)))
    twice = [*STAGES[:3], {**JUDGE, "name": "judge2", "model": "judge"}]
    assert len(load_recipe(written(tmp_path, twice)).stages) == 4
