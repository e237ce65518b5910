"""Scores alone, and in another order."""

from __future__ import annotations

import itertools

import pytest
import torch
from examined_cases import cases_of, examined
from tiny import byte_tokenizer, tiny_reward_model

from gnomon.evaluation.examination.examine import examine
from gnomon.evaluation.examination.settings import ExaminationSettings
from gnomon.rewards.python_reward import make_function_reward
from gnomon.rewards.reward import LearnedReward

PAIRS = [(f"p{n}", "a" * (n + 1), "b" * (20 - n)) for n in range(12)]


def test_a_function_of_the_text_is_stable() -> None:
    order = examined(cases_of(*PAIRS), lambda p, t: float(len(t))).models[0].order
    assert (order.texts, order.difference, order.stable) == (16, 0, True)


def test_a_score_that_depends_on_its_turn_is_not() -> None:
    counter = itertools.count()
    order = examined(cases_of(*PAIRS), lambda p, t: float(next(counter))).models[0].order
    assert order.difference is not None
    assert order.difference > 0.1
    assert order.stable is False


def test_a_score_that_depends_on_the_batch_is_not() -> None:
    """A function of all texts that subtracts their mean."""

    def score(prompts: list[str], completions: list[str]) -> list[float]:
        mean = sum(map(len, completions)) / len(completions)
        return [len(one) - mean for one in completions]

    reward = make_function_reward(score, "centered")
    result = examine(cases_of(*PAIRS), [("centered", lambda: reward)], ExaminationSettings(perturbed=0))
    assert result.models[0].order.stable is False


def test_a_reward_model_is_stable_under_order_and_padding() -> None:
    torch.manual_seed(0)
    model = tiny_reward_model(byte_tokenizer(chat=True))
    reward = LearnedReward(model, "tiny", budget=200)
    result = examine(cases_of(*PAIRS), [("tiny", lambda: reward)], ExaminationSettings(perturbed=4))
    examination = result.models[0]
    assert examination.order.stable is True
    assert examination.order.difference != pytest.approx(0, abs=0) or examination.order.texts == 16
    assert [one.unit for one in examination.lengths] == ["characters", "tokens"]
    assert examination.prompts is not None
    assert examination.prompts.own.pairs == 4
