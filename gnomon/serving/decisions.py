"""Probabilities of a decision between completions, from a reward model's scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class MarginCalibration(Protocol):
    """A map from the difference of two scores to the probability that people prefer the first."""

    @property
    def method(self) -> str:
        """`temperature` or `isotonic`."""

    @property
    def temperature(self) -> float:
        """T of p = σ(Δ/T)."""

    def probability(self, margin: float) -> float:
        """Compute the probability from the difference of two scores."""


@dataclass(frozen=True)
class ChoiceProbabilities:
    """Probabilities of K choices.

    Attributes:
        values: K probabilities with sum 1.
        calibrated: whether a calibration on held-out pairs gave them.
    """

    values: tuple[float, ...]
    calibrated: bool


def choice_probabilities(scores: Sequence[float], calibration: MarginCalibration | None) -> ChoiceProbabilities:
    """Compute the probability that each of K choices is the preferred one.

    For two it is σ(s₁ − s₂) (Bradley and Terry 1952), for more exp(s_k) / Σ exp(s_j), the first place of Plackett
    (1975) and Luce (1959). A calibration of the kind `temperature` divides the scores. One of the kind `isotonic`
    maps the difference of two scores; more than two choices have no probabilities by it, and are not calibrated.

    Args:
        scores: K scores, in logits of being preferred.
        calibration: of the reward model; `None` if it has none.
    """
    if calibration is not None and len(scores) == 2:
        first = float(calibration.probability(scores[0] - scores[1]))
        return ChoiceProbabilities((first, 1 - first), calibrated=True)
    usable = calibration is not None and calibration.method == "temperature"
    temperature = calibration.temperature if calibration is not None and usable else 1.0
    best = max(scores)
    weights = [math.exp((score - best) / temperature) for score in scores]
    total = sum(weights)
    return ChoiceProbabilities(tuple(weight / total for weight in weights), usable)
