"""Decisions of a reward model: questions as completions to choose from, probabilities, and answers.

Questions and answers are those of the System One API, which transformers' `decision` pipeline and the address
`/v1/systemone` of its server have. This file needs only the standard library.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_QUESTIONS = MAX_OPTIONS = 64
KINDS = ("choice", "score", "noul")
YES, NO = "Yes", "No"


@dataclass(frozen=True)
class ChoiceProbabilities:
    """Probabilities of K choices.

    Attributes:
        values: K probabilities with sum 1.
        calibrated: whether a calibration on held-out pairs gave them.
    """

    values: tuple[float, ...]
    calibrated: bool


@dataclass(frozen=True)
class TypedQuestion:
    """A question with the completions to choose from.

    Attributes:
        kind: `choice`: one of several options; `score`: one of several levels, lowest first; `noul`: yes or no.
        prompt: what the completions answer.
        choices: the completions.
        options: name of each in the answer.
    """

    kind: str
    prompt: str
    choices: tuple[str, ...]
    options: tuple[str, ...]


def calibrated_probability(margin: float, calibration: Mapping[str, Any]) -> float:
    """Compute the probability that the first of two completions is preferred, from a calibration of a model.

    `temperature` is σ(Δ/T). `isotonic` interpolates between its steps, and is constant beyond the last ones.

    Args:
        margin: Δ, the first score minus the second.
        calibration: `method`, and `temperature` or the steps `margins` and `probabilities`.
    """
    if calibration["method"] == "temperature":
        return 1 / (1 + math.exp(min(-margin / calibration["temperature"], 700.0)))  # exp overflows at 709
    margins, probabilities = calibration["margins"], calibration["probabilities"]
    right = bisect_right(margins, margin)
    if right == 0 or right == len(margins):
        return float(probabilities[0 if right == 0 else -1])
    low, high = margins[right - 1], margins[right]
    share = (margin - low) / (high - low)
    return float(probabilities[right - 1] + share * (probabilities[right] - probabilities[right - 1]))


def choice_probabilities(
    scores: Sequence[float], calibration: Mapping[str, Any] | None = None
) -> ChoiceProbabilities:
    """Compute the probability that each of K choices is the preferred one.

    For two it is σ(s₁ − s₂) (Bradley and Terry 1952), for more exp(s_k) / Σ exp(s_j), the first place of Plackett
    (1975) and Luce (1959). A calibration of the kind `temperature` divides the scores. One of the kind `isotonic`
    maps the difference of two scores; more than two choices have no probabilities by it, and are not calibrated.

    Args:
        scores: K scores, in logits of being preferred.
        calibration: of the reward model; `None` if it has none.
    """
    if calibration is not None and len(scores) == 2:
        first = calibrated_probability(scores[0] - scores[1], calibration)
        return ChoiceProbabilities((first, 1 - first), calibrated=True)
    usable = calibration is not None and calibration["method"] == "temperature"
    temperature = float(calibration["temperature"]) if calibration is not None and usable else 1.0
    best = max(scores)
    weights = [math.exp((score - best) / temperature) for score in scores]
    total = sum(weights)
    return ChoiceProbabilities(tuple(weight / total for weight in weights), usable)


def parse_questions(state: Any, questions: Any) -> dict[str, TypedQuestion]:
    """Parse the questions of a request about a state.

    Args:
        state: a text, or a JSON value that is written as such.
        questions: by name: `type`, `instructions` and `criteria`, as in System One.

    Raises:
        ValueError: what is wrong, in one sentence without its end.
    """
    if not isinstance(questions, Mapping) or not 1 <= len(questions) <= MAX_QUESTIONS:
        raise ValueError(f"questions must map 1 to {MAX_QUESTIONS} names to questions")
    return {str(name): _parsed(str(name), state, question) for name, question in questions.items()}


def answer_of(question: TypedQuestion, probabilities: Sequence[float]) -> dict[str, Any]:
    """Return the answer to a question in the form of System One.

    Confidence is 0 where all options are equally likely, and 1 where one is certain: for a choice by the
    probability of the best option, for a score by the expected distance from the best level.
    """
    by_option, count = dict(zip(question.options, probabilities, strict=True)), len(probabilities)
    if question.kind == "noul":
        return {"type": "noul", "noul": by_option["true"]}
    best = max(range(count), key=lambda index: probabilities[index])
    if question.kind == "choice":
        gain = (probabilities[best] - 1 / count) / (1 - 1 / count) if count > 1 else 1.0
        answer = {"type": "choice", "choice": question.options[best], "confidence": max(0.0, gain)}
        return answer | {"probabilities": by_option}
    distance = sum(p * abs(level - best) for level, p in enumerate(probabilities))
    uniform = sum(abs(level - (count - 1) / 2) for level in range(count)) / count
    answer = {"type": "score", "score": sum(level * p for level, p in enumerate(probabilities))}
    answer["legend"] = dict(zip(question.options, question.choices, strict=True))
    confidence = max(0.0, 1 - distance / uniform) if count > 1 else 1.0
    return answer | {"confidence": confidence, "probabilities": by_option}


def _parsed(name: str, state: Any, question: Any) -> TypedQuestion:
    where = f"question '{name:.60}'"
    if not isinstance(question, Mapping) or question.get("type") not in KINDS:
        raise ValueError(f"{where} must have a type, one of {', '.join(KINDS)}")
    if unknown := sorted(map(str, question.keys() - {"type", "instructions", "criteria"})):
        raise ValueError(f"{where} has the key '{unknown[0]:.60}', not only type, instructions and criteria")
    kind, criteria = str(question["type"]), question.get("criteria")
    if kind == "score":
        if not isinstance(criteria, Sequence) or isinstance(criteria, str) or not criteria:
            raise ValueError(f"{where}: criteria of a score must list its levels, lowest first")
        described = {str(level): None for level in range(len(criteria))}
        choices = tuple(map(_text, criteria))
    else:
        described = _described(where, kind, criteria)
        choices = (YES, NO) if kind == "noul" else tuple(described)
    if len(choices) > MAX_OPTIONS or len(set(choices)) < len(choices) or not all(one.strip() for one in choices):
        raise ValueError(f"{where}: criteria must be up to {MAX_OPTIONS} different texts, none of them empty")
    abouts = zip(choices, described.values(), strict=True)
    lines = [f"- {choice}: {_text(about)}" for choice, about in abouts if about]
    parts = [_text(state), "\n".join(filter(None, [_text(question.get("instructions")), *lines]))]
    prompt = "\n\n".join(filter(None, parts))
    if not prompt.strip():
        raise ValueError(f"{where} has neither a state nor instructions")
    return TypedQuestion(kind, prompt, choices, tuple(described))


def _described(where: str, kind: str, criteria: Any) -> dict[str, Any]:
    """Return the options of a choice, or true and false, each with its description, if it has any."""
    if kind == "choice":
        if not isinstance(criteria, Mapping) or not criteria:
            raise ValueError(f"{where}: criteria of a choice must map its options to descriptions or null")
        return {str(option): about for option, about in criteria.items()}
    if criteria is not None and not (isinstance(criteria, Mapping) and criteria.keys() <= {"true", "false"}):
        raise ValueError(f"{where}: criteria of a noul may describe true and false, and nothing else")
    return {option: (criteria or {}).get(option) for option in ("true", "false")}


def _text(value: Any) -> str:
    """Return a text, or a JSON value as its text; nothing is an empty one."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
