"""Probabilities of decisions, by hand and over HTTP."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import torch
from serving_rewards import ScoringClient, serving_reward
from tiny import tiny_reward_model

from gnomon.rewards.reward import LearnedReward, Scores
from gnomon.serving.decisions import choice_probabilities


@dataclass(frozen=True)
class Temperature:
    """σ(Δ/T)."""

    temperature: float = 2.0
    method: str = "temperature"
    pairs: int = 50

    def probability(self, margin: float) -> float:
        return 1 / (1 + math.exp(-margin / self.temperature))


@dataclass(frozen=True)
class Steps(Temperature):
    """A map that is no temperature."""

    method: str = "isotonic"

    def probability(self, margin: float) -> float:
        return 0.5 + 0.3 * math.copysign(1, margin)


class Tabled:
    """A reward model in place of a network: the score is the number in the text."""

    name = "tabled"

    def __init__(self, calibration: Any = None):
        self.calibration = calibration

    def member_scores(self) -> None: ...

    def score(self, prompts: Any, completions: Any) -> Scores:
        values = torch.tensor([float(c.text) for c in completions])
        return Scores(values, {self.name: values})


@pytest.mark.parametrize(
    ("scores", "calibration", "expected", "calibrated"),
    [
        ((math.log(3), 0.0), None, (0.75, 0.25), False),
        ((0.0, 2 * math.log(3)), Temperature(), (0.25, 0.75), True),
        ((math.log(2), math.log(5), math.log(3)), None, (0.2, 0.5, 0.3), False),
        ((2 * math.log(2), 2 * math.log(5), 2 * math.log(3)), Temperature(), (0.2, 0.5, 0.3), True),
        ((1.0, 0.0), Steps(), (0.8, 0.2), True),
        ((math.log(2), math.log(5), math.log(3)), Steps(), (0.2, 0.5, 0.3), False),
        ((5000.0, 0.0), None, (1.0, 0.0), False),
        ((5000.0, 5000.0, -5000.0), None, (0.5, 0.5, 0.0), False),
    ],
)
def test_probabilities_by_hand(
    scores: tuple[float, ...], calibration: Any, expected: tuple[float, ...], calibrated: bool
) -> None:
    result = choice_probabilities(scores, calibration)
    assert result.values == pytest.approx(expected)
    assert result.calibrated is calibrated
    assert sum(result.values) == pytest.approx(1)


def test_two_choices_of_many_have_the_odds_of_two() -> None:
    """Luce's axiom: the odds of two choices do not depend on the others."""
    two, three = (choice_probabilities(scores, Temperature()).values for scores in ((1.5, 0.3), (1.5, 0.3, 4.0)))
    assert two[0] / two[1] == pytest.approx(three[0] / three[1])


@pytest.fixture(scope="module")
def client() -> Iterator[ScoringClient]:
    with serving_reward(Tabled(Temperature()), "tabled") as client:
        yield client


def test_a_decision_states_that_it_is_calibrated(client: ScoringClient) -> None:
    sent = {"prompt": "q", "choices": ["0", str(2 * math.log(3))]}
    decision = client.post("/v1/decisions", sent).json()
    assert decision["choice"] == 1
    assert decision["probabilities"] == pytest.approx([0.25, 0.75])
    assert decision["scores"] == pytest.approx([0, 2 * math.log(3)])
    assert decision["calibrated"] is True
    assert requests.get(client.address + "/v1/models", timeout=60).json()["data"][0]["calibrated"] is True


def test_a_question_has_a_probability(client: ScoringClient) -> None:
    sent = {"question": "Which?", "input": "A film.", "choices": ["0", str(2 * math.log(3))]}
    reply = client.post("/v1/systemone", sent).json()
    assert reply["answer"] == sent["choices"][1]
    assert reply["probability"] == pytest.approx(0.75)
    assert reply["probabilities"] == pytest.approx(dict(zip(sent["choices"], (0.25, 0.75), strict=True)))
    assert reply["calibrated"] is True


def test_a_question_is_yes_or_no_by_default_and_followed_by_its_input(chat_tokenizer: Any) -> None:
    with serving_reward(LearnedReward(tiny_reward_model(chat_tokenizer), "judge")) as client:
        reply = client.post("/v1/systemone", {"question": "Is it good?", "input": "A fine film."}).json()
        scores = client.score(["Is it good?\n\nA fine film."] * 2, ["yes", "no"])
    margin = scores[0]["score"] - scores[1]["score"]
    assert reply["probabilities"]["yes"] == pytest.approx(1 / (1 + math.exp(-margin)))
    assert reply["calibrated"] is False
    assert reply["answer"] == ("yes" if margin > 0 else "no")


def test_a_named_head_gives_no_probabilities(chat_tokenizer: Any) -> None:
    """It may predict a rating, whose differences are no log-odds."""
    with serving_reward(LearnedReward(tiny_reward_model(chat_tokenizer), "judge#helpfulness")) as client:
        decision = client.post("/v1/decisions", {"prompt": "q", "choices": ["a", "b"]}).json()
    assert decision["probabilities"] is None
    assert len(decision["scores"]) == 2
