"""Probabilities of decisions, by hand and over HTTP."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import torch
from function_reward import FunctionReward
from serving_rewards import ScoringClient, serving_reward
from tiny import tiny_reward_model

from gnomon.rewards.ensemble import EnsembleReward
from gnomon.rewards.reward import LearnedReward, Scores
from gnomon.serving.portable.decision_questions import answer_of, choice_probabilities, parse_questions

T2 = {"method": "temperature", "pairs": 50, "temperature": 2.0}
STEPS: dict[str, Any] = {"method": "isotonic", "pairs": 50, "temperature": 1.0, "margins": [-2.0, -1.0, 1.0, 2.0]}
STEPS |= {"probabilities": [0.1, 0.3, 0.7, 0.9]}


@dataclass(frozen=True)
class Temperature:
    """A calibration as a reward has it."""

    method: str = "temperature"
    pairs: int = 50
    temperature: float = 2.0


class Tabled(EnsembleReward):
    """An ensemble in place of networks: the score is the number in the text, the uncertainty a tenth."""

    def __init__(self, calibration: Any = None):
        self.name = "tabled"
        self.calibration = calibration
        self.sources = [FunctionReward(lambda prompt, text: len(text), "length")]

    def score(self, prompts: Any, completions: Any) -> Scores:
        values = torch.tensor([float(c.text) for c in completions])
        return Scores(values, {self.name: values}, uncertainties={self.name: values / 10})


@pytest.mark.parametrize(
    ("scores", "calibration", "expected", "calibrated"),
    [
        ((math.log(3), 0.0), None, (0.75, 0.25), False),
        ((0.0, 2 * math.log(3)), T2, (0.25, 0.75), True),
        ((math.log(2), math.log(5), math.log(3)), None, (0.2, 0.5, 0.3), False),
        ((2 * math.log(2), 2 * math.log(5), 2 * math.log(3)), T2, (0.2, 0.5, 0.3), True),
        ((1.0, 0.0), STEPS, (0.7, 0.3), True),
        ((0.5, 0.0), STEPS, (0.6, 0.4), True),
        ((0.0, 1.5), STEPS, (0.2, 0.8), True),
        ((9.0, 0.0), STEPS, (0.9, 0.1), True),
        ((0.0, 9.0), STEPS, (0.1, 0.9), True),
        ((0.0, 5000.0), T2, (0.0, 1.0), True),
        ((math.log(2), math.log(5), math.log(3)), STEPS, (0.2, 0.5, 0.3), False),
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
    two, three = (choice_probabilities(scores, T2).values for scores in ((1.5, 0.3), (1.5, 0.3, 4.0)))
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
    assert decision["uncertainties"] == pytest.approx([0, 0.2 * math.log(3)])
    (row,) = client.score(["q"], ["3"])
    assert row == {"score": 3.0, "parts": {"tabled": 3.0}, "uncertainty": pytest.approx(0.3)}
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


QUESTIONS: dict[str, Any] = {
    "tone": {"type": "choice", "instructions": "What is it?", "criteria": {"calm": None, "angry": "It shouts"}},
    "spam": {"type": "noul", "instructions": "Is it spam?", "criteria": {"true": "It sells"}},
    "plain": {"type": "noul", "instructions": "Is it spam?"},
    "urgency": {"type": "score", "instructions": {"how": "urgent"}, "criteria": ["can wait", "this week", "now"]},
}


def test_a_question_becomes_a_prompt_with_choices() -> None:
    parsed = parse_questions({"message": "FREE!"}, QUESTIONS)
    start = '{"message": "FREE!"}\n\n'
    assert parsed["tone"].prompt == start + "What is it?\n- angry: It shouts"
    assert parsed["tone"].choices == parsed["tone"].options == ("calm", "angry")
    assert parsed["spam"].prompt == start + "Is it spam?\n- Yes: It sells"
    assert parsed["plain"].prompt == start + "Is it spam?"
    assert (parsed["plain"].choices, parsed["plain"].options) == (("Yes", "No"), ("true", "false"))
    assert parsed["urgency"].prompt == start + '{"how": "urgent"}'
    assert parsed["urgency"].choices == ("can wait", "this week", "now")


@pytest.mark.parametrize("probabilities", [(0.2, 0.8), (0.5, 0.5), (1.0, 0.0), (0.5, 0.2, 0.3), (0.1, 0.1, 0.8)])
def test_answers_have_the_form_of_transformers(probabilities: tuple[float, ...]) -> None:
    template_utils = pytest.importorskip("transformers.decision.template_utils")
    configuration = pytest.importorskip("transformers.decision.configuration_utils")
    parsed = parse_questions("FREE!", QUESTIONS)
    compared = 0
    for other in template_utils.parse_questions(QUESTIONS, configuration.DecisionConfig()):
        question = parsed[other.name]
        if len(question.choices) == len(probabilities):
            assert answer_of(question, probabilities) == other.answer(list(probabilities))
            compared += 1
    assert compared == (3 if len(probabilities) == 2 else 1)


@pytest.mark.parametrize(
    ("questions", "words"),
    [
        ({}, "must map 1 to 64 names"),
        ({"a": "b"}, "must have a type"),
        ({"a": {"type": "essay"}}, "one of choice, score, noul"),
        ({"a": {"type": "noul", "x": 1}}, "has the key 'x'"),
        ({"a": {"type": "choice"}}, "must map its options"),
        ({"a": {"type": "choice", "criteria": {"": None, "b": None}}}, "none of them empty"),
        ({"a": {"type": "score", "criteria": "abc"}}, "must list its levels"),
        ({"a": {"type": "score", "criteria": ["b", "b"]}}, "different texts"),
        ({"a": {"type": "noul", "criteria": {"maybe": "x"}}}, "true and false, and nothing else"),
        ({"a": {"type": "choice", "criteria": {str(n): None for n in range(65)}}}, "up to 64"),
        ([], "questions"),
    ],
)
def test_a_bad_question_is_refused(questions: Any, words: str, client: ScoringClient) -> None:
    response = client.post("/v1/systemone", {"state": "x", "questions": questions})
    assert response.status_code == 422
    assert words in response.json()["detail"]


def test_typed_questions_over_http(client: ScoringClient) -> None:
    level = str(2 * math.log(3))
    questions = {
        "one": {"type": "choice", "criteria": {"0": None, level: None}},
        "two": {"type": "score", "criteria": ["0", level]},
    }
    reply = client.post("/v1/systemone", {"model": "any", "state": "x", "questions": questions}).json()
    assert reply["answers"]["one"]["choice"] == level
    assert reply["answers"]["one"]["probabilities"] == pytest.approx({"0": 0.25, level: 0.75})
    assert reply["answers"]["one"]["confidence"] == pytest.approx(0.5)
    assert reply["answers"]["two"]["score"] == pytest.approx(0.75)
    assert reply["calibrated"] is True
    refused = client.post("/v1/systemone", {"state": "x", "questions": questions, "assets": {"a": {}}})
    assert "the model reads text alone" in refused.json()["detail"]


def test_a_named_head_gives_no_probabilities(chat_tokenizer: Any) -> None:
    """It may predict a rating, whose differences are no log-odds."""
    with serving_reward(LearnedReward(tiny_reward_model(chat_tokenizer), "judge#helpfulness")) as client:
        decision = client.post("/v1/decisions", {"prompt": "q", "choices": ["a", "b"]}).json()
    assert decision["probabilities"] is None
    assert len(decision["scores"]) == 2
