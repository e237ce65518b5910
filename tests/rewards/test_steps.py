"""Process rewards: steps of an answer, their combination, and a model that is trained on labeled steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tiny import tiny_reward_model

import gnomon
from gnomon.algorithms.process_reward import ProcessReward
from gnomon.core.batches import Labels, StepTotals
from gnomon.core.types import Completion, Message, Prompt
from gnomon.losses.preference import logsigmoid_loss
from gnomon.models.roles import RewardModel
from gnomon.models.settings import Combination, StepCombination, StepSettings
from gnomon.models.tiny_random import byte_tokenizer
from gnomon.rewards.ensemble import EnsembleReward
from gnomon.rewards.reward import LearnedReward
from gnomon.rewards.steps import combine_rows, combine_steps, steps_of


def texts(answer: str, separator: str = "\n") -> list[str]:
    return [one.text for one in steps_of(Completion("c", answer), separator)]


def test_a_step_ends_where_the_separator_begins() -> None:
    assert texts("one\ntwo\nthree") == ["one", "one\ntwo", "one\ntwo\nthree"]
    assert texts("one\n\n \ntwo\n") == ["one", "one\n\n \ntwo\n"], "blank pieces are no steps"
    assert texts("one\n\ntwo", "\n\n") == ["one", "one\n\ntwo"]
    assert texts("") == [""], "an empty answer has one step"
    assert texts("第一步。第二步。", "。") == ["第一步", "第一步。第二步。"]


def test_the_last_step_is_the_answer_itself() -> None:
    answer = Completion("c", "one\ntwo", token_ids=(1, 2, 3))
    first, last = steps_of(answer, "\n")
    assert last is answer
    assert first.token_ids is None
    turns = Completion("d", "one\n\ntwo", turns=(Message("assistant", "one"), Message("assistant", "two")))
    assert steps_of(turns, "\n") == [turns]


def test_combinations_by_hand() -> None:
    steps = torch.tensor([0.9, 0.5, 0.8])
    assert float(combine_steps(steps, "min")) == pytest.approx(0.5)
    assert float(combine_steps(steps, "product")) == pytest.approx(0.36)
    assert float(combine_steps(steps, "last")) == pytest.approx(0.8)


def test_answers_are_scored_by_their_own_steps_and_fail_alone() -> None:
    """Two steps, three of which the second failed, and one without a score."""
    logits = torch.tensor([1.0, 4.0, 2.0, math.nan, 9.0, math.inf])
    scores, failures = combine_rows(logits, [(3, "it is too long")], [2, 3, 1], "product")
    sigmoid = [1 / (1 + math.exp(-n)) for n in (1, 4)]
    assert float(scores[0]) == pytest.approx(sigmoid[0] * sigmoid[1])
    assert scores[1:].isnan().all()
    assert failures == [(1, "step 2: it is too long"), (2, "its score is not a finite number")]


@pytest.mark.parametrize("combine", ["min", "product", "last"])
def test_no_combination_hides_a_failed_step(combine: StepCombination) -> None:
    scores, failures = combine_rows(torch.tensor([math.nan, 0.0]), [(0, "no")], [2], combine)
    assert scores.isnan().all()
    assert failures == [(0, "step 1: no")]


def test_loss_by_hand() -> None:
    """Two right steps with logits 1 and −1, a wrong one with logit 2 and weight 3."""

    class Fixed:
        def scores(self, tokens: object) -> torch.Tensor:
            return torch.tensor([1.0, -1.0, 2.0])

    class OnlyReward:
        reward = Fixed()

    batch = Labels(None, torch.tensor([True, True, False]), torch.tensor([1.0, 1.0, 3.0]), StepTotals(3, 9))  # type: ignore[arg-type]
    loss, metrics = ProcessReward(bad_weight=0.5).loss(OnlyReward(), batch)  # type: ignore[arg-type]
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1)) + 1.5 * math.log(1 + math.exp(2))) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(metrics["accuracy"]) == pytest.approx(1 / 3)
    assert float(metrics["good_share"]) == pytest.approx(2 / 3)
    assert float(logsigmoid_loss(torch.tensor(0.0))) == pytest.approx(math.log(2))


def test_an_empty_separator_is_refused() -> None:
    with pytest.raises(ValueError, match="separator is empty"):
        ProcessReward(separator="")


def test_from_labeled_steps_to_scored_answers(tmp_path: Path) -> None:
    """Rows in TRL's stepwise layout: a step `c` is wrong, and so is all that follows."""
    rows = []
    for number in range(16):
        steps = [("a", "b", "c")[(number + at) % 3] for at in range(3)]
        labels = ["c" not in steps[: at + 1] for at in range(3)]
        rows.append({"prompt": "a b", "completions": steps, "labels": labels})
    data = tmp_path / "steps.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = gnomon.train(
        "process_reward",
        model="tiny-random",
        data=data,
        out=tmp_path / "run",
        combine="min",
        training={"epochs": 40, "batch_size": 16, "learning_rate": 0.01, "head_dropout": 0},
    )
    model = result.reward_model
    assert isinstance(model, RewardModel)
    assert model.steps == StepSettings(combine="min")
    right, wrong, late = gnomon.score(model, ["a b"] * 3, ["a\nb\na", "c\na\nb", "a\nb\nc"])
    assert right > 0.8 > 0.2 > max(wrong, late)
    again = gnomon.load_reward_model(result.folder)
    assert isinstance(again, RewardModel)
    assert gnomon.score(again, ["a b"], ["a\nb\na"]) == pytest.approx([right])
    again.score_by_steps(StepSettings())
    parts = gnomon.score(again, ["a b"] * 3, ["a", "a\nb", "a\nb\nc"])
    again.score_by_steps(StepSettings(combine="product"))
    assert gnomon.score(again, ["a b"], ["a\nb\nc"]) == pytest.approx([math.prod(parts)])


def test_a_model_that_scores_whole_answers_has_no_steps() -> None:
    model = tiny_reward_model()
    assert model.steps is None
    model.score_by_steps(StepSettings(combine="last"))
    assert model.steps == StepSettings(combine="last")
    model.score_by_steps(None)
    assert model.steps is None


@pytest.mark.parametrize("combine", ["min", "product", "last"])
def test_a_member_of_an_ensemble_scores_by_its_own_steps(combine: StepCombination) -> None:
    """The mean of two process reward models is that of their own scores."""
    tokenizer = byte_tokenizer()
    models = [tiny_reward_model(tokenizer, seed=seed) for seed in (0, 1)]
    for model in models:
        model.score_by_steps(StepSettings(combine=combine))
    prompts, answers = [Prompt("p", (Message("user", "a"),))] * 2, [Completion("x", "a\nb"), Completion("y", "c")]
    members = [LearnedReward(model, "m") for model in models]
    single = torch.stack([one.score(prompts, answers).values for one in members])
    together = EnsembleReward("both", members, ["a", "b"], Combination()).score(prompts, answers)
    assert torch.allclose(together.values, single.mean(0))
    assert ((single > 0) & (single < 1)).all()
