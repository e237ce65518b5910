"""A reward stage on several kinds of judgements: read by kind, in memory and from disk, with metrics of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from project import Project, make_project, write_rows
from safetensors.torch import load_file
from tiny import CPU

from gnomon.core.errors import ConfigError, DataError, ModelError
from gnomon.core.storage.files import read_jsonl
from gnomon.core.types import Completion, Message, Prompt
from gnomon.models.encoders.scorer import open_scorer
from gnomon.models.score_parts.files import PARTS_FILE
from gnomon.rewards.encoder_reward import reward_of_model
from gnomon.stages.common import encoded_data

PROMPTS = [f"How was {film}?" for film in ("Solaris", "Stalker", "Playtime", "花样年华")]
WORDS = ("good", "long", "dull", "不错")


def scored(prompt: str, word: str, **scores: float | None) -> dict[str, Any]:
    return {"prompt": prompt, "completion": f"It was {word}.", "scores": scores}


def write_judgements(folder: Path) -> None:
    write_rows(
        folder / "rankings.jsonl",
        [{"prompt": p, "completions": [f"It was {w}." for w in WORDS]} for p in PROMPTS],
    )
    write_rows(
        folder / "ratings.jsonl",
        [{"prompt": p, "text": f"It was {w}.", "rating": 5 - n} for p in PROMPTS for n, w in enumerate(WORDS)],
    )
    write_rows(
        folder / "scores.jsonl",
        [
            scored(p, w, help=n, safety=None if n == 1 else float(n % 2), style=1 + n % 3, spare=n)
            for p in PROMPTS
            for n, w in enumerate(WORDS)
        ],
    )


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "cache"))
    project = make_project(tmp_path / "project", tiny_model)
    write_judgements(project.folder)
    return project


def judge(project: Project, data: dict[str, float], settings: dict[str, Any], *more: dict[str, Any]) -> Project:
    """A recipe with one reward stage on these files, and further stages."""
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    stage = {
        "name": "judge",
        "algorithm": "reward_model",
        "data": {str(project.folder / f"{name}.jsonl"): weight for name, weight in data.items()},
        "settings": settings,
        "training": {"batch_size": 6, "epochs": 2},
    }
    recipe["stages"] = [stage, *more]
    project.recipe.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return project


HEADS = {
    "help": {"scale": [0, 3]},
    "safety": {"loss": "logistic"},
    "style": {"loss": "ordinal", "scale": [1, 3], "weight": 0.5},
}
ALL = {"preferences": 1, "rankings": 1, "ratings": 0.5, "scores": 1}


def test_all_kinds_at_once_in_memory_and_from_disk(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(project, ALL, {"scores": HEADS, "ranking_weight": 0.5, "rating_scale": [1, 5]})
    project.go()
    rows = project.metrics("judge")
    keys = set().union(*rows)
    kinds = ("pairs", "rankings", "rating", "help", "safety", "style")
    assert {f"loss_{kind}" for kind in kinds} | {"accuracy", "ranking_accuracy", "error_rating"} <= keys
    shown = " ".join(capsys.readouterr().err.split())
    assert "scored completions: help 16, safety 12, style 16" in shown
    assert "scores that no head learns: spare" in shown
    # 4 prompts of pairs, 4 of rankings, half of the 16 ratings, 16 completions with scores; two epochs of steps
    # of 6
    assert len(rows) == -(-2 * (4 + 4 + 8 + 16) // 6)
    project.run.rename(project.folder / "first")
    monkeypatch.setattr(encoded_data, "is_large", lambda path: True)
    project.go()
    assert project.metrics("judge") == rows


def test_micro_batches_add_up_to_the_batch(project: Project) -> None:
    """The same numbers whether a step is one micro-batch or many, though each then holds a kind or two."""
    judge(project, ALL, {"scores": HEADS, "pair_loss": "davidson", "per_prompt": True})
    project.go()
    whole = project.metrics("judge")
    project.run.rename(project.folder / "first")
    project.go("judge.training.micro_batch_tokens=16")
    cut = project.metrics("judge")
    assert whole[0] == pytest.approx(cut[0], rel=1e-4, abs=1e-5)
    for one, other in zip(whole, cut, strict=True):  # Adam turns a gradient near 0 into a whole step
        assert one["loss"] == pytest.approx(other["loss"], rel=0.03)


@pytest.mark.parametrize(
    ("data", "settings", "reason"),
    [
        ({"scores": 1}, {}, r"named scores \(help, safety, style, spare\), and none is learned; name them in"),
        (
            {"scores": 1},
            {"scores": {"tone": {}}},
            "no row has the score 'tone'; the names are help, safety, style",
        ),
        ({"ratings": 1}, {"scores": {"tone": {}}}, "'tone'; the data have no named scores"),
        (
            {"ratings": 1},
            {"rating_scale": [1, 4]},
            r"the rating is outside .* 1 to 4 in 4 of 16 rows, at first 5",
        ),
        (
            {"scores": 1},
            {"scores": {"help": {"scale": [1, 3]}}},
            "'help' is outside the scale from 1 to 3 in 4 of",
        ),
        ({"same": 1}, {}, "the rating is 3 in all 2 rows, so there is nothing to learn"),
        ({"scores": 1}, {"scores": {"help": {}}, "gate": True}, "a gate is learned from pairs or rankings"),
        ({"bare": 1}, {}, "the text has no prompt, and a reward model reads an answer after its prompt"),
        ({"empty": 1}, {"scores": {"help": {}}}, "it has no score, all are null"),
    ],
)
def test_scores_that_cannot_be_learned_are_refused(
    project: Project, data: dict[str, float], settings: dict[str, Any], reason: str
) -> None:
    write_rows(project.folder / "same.jsonl", [{"prompt": "Q", "text": t, "rating": 3} for t in ("x", "y")])
    write_rows(
        project.folder / "bare.jsonl", [{"id": str(n), "text": f"t {n}", "ratings": [n]} for n in range(3)]
    )
    write_rows(project.folder / "empty.jsonl", [scored("Q", "x", help=None)])
    judge(project, data, settings)
    with pytest.raises((ConfigError, DataError), match=reason):
        project.go()


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"help": {"loss": "ordinal"}}, "ordinal needs the scale of whole numbers"),
        ({"help": {"loss": "ordinal", "scale": [0, 2.5]}}, "at most 100 whole numbers, not 0 to 2.5"),
        ({"help": {"scale": [3, 1]}}, "scale is its lowest and its highest value"),
        ({"a#b": {}}, "string should match pattern"),
        ({"help": {"los": "squared"}}, "did you mean 'loss'"),
    ],
)
def test_settings_of_scores_that_cannot_be(project: Project, scores: dict[str, Any], reason: str) -> None:
    judge(project, {"scores": 1}, {"scores": scores})
    with pytest.raises(ConfigError, match=reason):
        project.go()


def test_rows_without_a_score_are_rejected_and_counted(project: Project) -> None:
    write_rows(project.folder / "some.jsonl", [scored("Q", w, help=n or None) for n, w in enumerate(WORDS)])
    judge(project, {"some": 1}, {"scores": {"help": {}}})
    project.go()
    (row,) = read_jsonl(project.run / "judge" / "rejected.jsonl")
    assert row["reason"] == "it has no score, all are null"


@pytest.mark.parametrize("ranks", [[1, 2, 4], [2, 3, 4]])
def test_ranks_with_a_gap_are_refused(project: Project, ranks: list[int]) -> None:
    rows = [{"prompt": "Q", "answers": ["x", "y", "z"], "ranks": ranks}] * 2
    write_rows(project.folder / "ranked.jsonl", rows)
    judge(project, {"ranked": 1}, {})
    with pytest.raises(DataError, match=r"ranks are .*: no answer has rank [13]"):
        project.go()


def ppo(**changes: Any) -> dict[str, Any]:
    stage = {
        "name": "aligned",
        "algorithm": "ppo",
        "reward": "judge#safety",
        "prompts": "prompts.jsonl",
        "training": {"steps": 1, "prompts_per_step": 2, "truncation_score": None},
        "sampling": {"completions": 2, "max_tokens": 4},
    }
    return {**stage, **changes}


def test_heads_first_then_a_gate(project: Project) -> None:
    """Attributes, then a gate on pairs with the heads fixed (ArmoRM); another stage trains the heads further."""
    gated = {
        "name": "gated",
        "algorithm": "reward_model",
        "model": "judge",
        "data": str(project.folder / "preferences.jsonl"),
        "settings": {"gate": True},
        "trainable": {"layers": 0},
        "training": {"batch_size": 4, "epochs": 2},
    }
    further = {
        "name": "further",
        "algorithm": "reward_model",
        "model": "judge",
        "data": str(project.folder / "shifted.jsonl"),
        "settings": {"scores": {"help": {"scale": [0, 3]}, "tone": {}}},
        "training": {"batch_size": 4},
    }
    shifted = [scored(p, w, help=n / 2, tone=n) for p in PROMPTS for n, w in enumerate(WORDS)]
    write_rows(project.folder / "shifted.jsonl", shifted)
    judge(project, {"scores": 1}, {"scores": HEADS}, gated, further)
    project.go()
    weights, after, more = (
        load_file(project.run / stage / "model" / PARTS_FILE) for stage in ("judge", "gated", "further")
    )
    heads = [name for name in weights if name.startswith("heads.")]
    assert heads
    for name in heads:
        assert torch.equal(weights[name], after[name])
    assert after["gate.out.weight"].abs().sum() > 0
    assert torch.equal(more["heads.0.center"], weights["heads.0.center"])  # a trained head keeps its scale
    assert not torch.equal(more["heads.0.out.weight"], weights["heads.0.out.weight"])
    assert more["heads.3.center"].item() == pytest.approx(1.5)
    overall = [
        json.loads((project.run / stage / "model" / "config.json").read_text(encoding="utf-8"))["score_parts"]
        for stage in ("judge", "gated")
    ]
    assert [parts["overall"] for parts in overall] == [False, True]


def test_a_policy_and_an_evaluation_take_a_score_by_name(project: Project) -> None:
    prompts = str(project.folder / "prompts.jsonl")
    compared = {
        "name": "report",
        "evaluate": ["base", "aligned"],
        "judges": ["judge#help", "judge#style"],
        "prompts": prompts,
        "reference": "base",
        "sampling": {"completions": 2, "max_tokens": 4},
    }
    judge(project, {"scores": 1}, {"scores": HEADS}, ppo(prompts=prompts), compared)
    project.go("judge.training.epochs=1")
    (row,) = project.metrics("aligned")
    assert 0 <= row["score_mean"] <= 1  # a share of the scale of safety


@pytest.mark.parametrize(
    ("reward", "reason"),
    [
        ("judge#tone", "reward model .* has no head 'tone'; give one as .*#HEAD, of: 'help', 'safety', 'style'"),
        ("judge", "has no score of its own; give one of help, safety, style"),
        ("juge#help", "no earlier stage and no model here"),
    ],
)
def test_a_score_that_is_not_there_is_refused(project: Project, reward: str, reason: str) -> None:
    prompts = str(project.folder / "prompts.jsonl")
    judge(project, {"scores": 1}, {"scores": HEADS}, ppo(prompts=prompts, reward=reward, critic="base"))
    with pytest.raises((ConfigError, ModelError), match=reason):
        project.go()


def test_an_ensemble_of_models_has_named_scores(project: Project) -> None:
    """Each member has the head; the ensemble's score by name is the mean of the members'."""
    judge(project, {"scores": 1, "preferences": 1}, {"scores": {"help": {}}})
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    recipe["stages"][0] |= {"ensemble": {"members": 2, "kind": "models", "bagging": False}}
    project.recipe.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    project.go("judge.training.epochs=1")
    folder = project.run / "judge" / "model"
    prompt, answer = Prompt("p", (Message("user", "Hi"),)), Completion("a", "Yes.")
    names = [f"{folder}#help", f"{folder / 'members' / '0'}#help", f"{folder / 'members' / '1'}#help"]
    whole, first, second = (
        float(reward_of_model(open_scorer(name, CPU), "judge").score([prompt], [answer]).values) for name in names
    )
    assert first != second
    assert whole == pytest.approx((first + second) / 2, abs=1e-5)


def test_one_file_gives_pairs_and_named_scores(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HelpSteer: neighboring rows of a prompt are pairs, and each row has five scores; on disk the same."""
    attributes = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    rows = [
        {"prompt": p, "response": f"It was {w}.", **{name: (n + k) % 5 for k, name in enumerate(attributes)}}
        for p in PROMPTS
        for n, w in enumerate(WORDS[:2])
    ]
    write_rows(project.folder / "helpsteer.jsonl", rows)
    judge(project, {"helpsteer": 1}, {"scores": {"helpfulness": {}, "verbosity": {"weight": 0.1}}})
    project.go()
    metrics = project.metrics("judge")
    assert {"accuracy", "loss_pairs", "loss_helpfulness", "error_verbosity"} <= set().union(*metrics)
    assert len(metrics) == -(-2 * (4 + 8) // 6)
    assert "no head learns: correctness, coherence, complexity" in " ".join(capsys.readouterr().err.split())
    project.run.rename(project.folder / "first")
    monkeypatch.setattr(encoded_data, "is_large", lambda path: True)
    project.go()
    assert project.metrics("judge") == metrics
