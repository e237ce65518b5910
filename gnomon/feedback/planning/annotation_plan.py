"""Sample sizes of an annotation study as a table with advice, and a check of them by simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from gnomon.core.config import Settings
from gnomon.core.errors import ConfigError
from gnomon.core.ranges import Range
from gnomon.feedback.planning.power import (
    NORMAL,
    AnnotatorNoise,
    accuracy_from_kappa,
    annotators_for,
    half_width,
    items_for_power,
    items_for_width,
    majority_accuracy,
    power_of_items,
    votes_for_accuracy,
)
from gnomon.stats.bradley_terry import choice_probabilities
from gnomon.stats.intervals import wilson_interval

TRIALS = 2000
MOST_DRAWN = 200_000_000  # items in all trials
AT_ONCE = 2_000_000  # items drawn side by side


class PowerSettings(Settings):
    """Goals of a study and assumptions about its annotators.

    Attributes:
        effect: true win rate, as an annotator without error would measure it.
        kappa: Cohen's κ of two annotators, without ties.
        power: probability that a test detects the difference from 1/2.
        votes: judgements per item.
        ties: share of the votes that are ties.
        ci_halfwidth: half-width of the win rate's confidence interval.
        accuracy: target share of items with a correct majority.
        per_annotator: judgements that one annotator makes.
        alpha: false positive rate of the test; 1 − alpha is the interval's level.
    """

    effect: Annotated[float, Range("it is a win rate", ge=0, le=1)] = 0.6
    kappa: Annotated[float, Range("it is an agreement beyond chance", ge=0, le=1)] = 0.4
    power: Annotated[float, Range("it is a probability that no finite test reaches 0 or 1 of", gt=0, lt=1)] = 0.8
    votes: Annotated[int, Range("it counts judgements of an item", ge=1, le=10**6)] = 3
    ties: Annotated[float, Range("it is a share, and some votes must decide", ge=0, lt=1)] = 0.0
    ci_halfwidth: Annotated[float, Range("no interval of a share is wider", gt=0, lt=0.5)] = 0.05
    accuracy: Annotated[float, Range("it is a probability that no majority reaches 0 or 1 of", gt=0, lt=1)] = 0.9
    per_annotator: Annotated[int, Range("it counts judgements of an annotator", ge=1, le=10**9)] = 200
    alpha: Annotated[float, Range("it is the probability of an error", gt=0, lt=1)] = 0.05

    @property
    def noise(self) -> AnnotatorNoise:
        """The error model of these annotators."""
        return AnnotatorNoise(accuracy_from_kappa(self.kappa), self.ties)


@dataclass(frozen=True)
class PlanRow:
    """Cost of one goal at a number of votes per item.

    Attributes:
        goal: what is measured.
        right: share of items whose majority is correct.
    """

    goal: str
    votes: int
    items: int
    judgements: int
    annotators: int
    right: float


@dataclass(frozen=True)
class AnnotationPlan:
    """The table and the advice.

    Attributes:
        votes: votes per item for the target accuracy; `None` if no number is enough.
    """

    settings: PowerSettings
    rows: tuple[PlanRow, ...]
    votes: int | None
    advice: str


@dataclass(frozen=True)
class SimulationCheck:
    """A simulated share with Wilson's 95% interval.

    Attributes:
        expected: by the closed form.
    """

    name: str
    expected: float
    observed: float
    low: float
    high: float


def plan_annotation(settings: PowerSettings) -> AnnotationPlan:
    """Compute the table for one vote per item and for the given number.

    Raises:
        ConfigError: no number of judgements is enough.
    """
    noise, rows = settings.noise, []
    for votes in sorted({1, settings.votes}):
        items_needed = items_for_power(
            settings.effect, noise, votes=votes, power=settings.power, alpha=settings.alpha
        )
        rows.append(_row(f"detect {_share(settings.effect)}", votes, items_needed, settings))
    for votes in sorted({1, settings.votes}):
        items_needed = items_for_width(
            settings.ci_halfwidth, noise, effect=settings.effect, votes=votes, alpha=settings.alpha
        )
        rows.append(_row(f"measure it to ±{_share(settings.ci_halfwidth)}", votes, items_needed, settings))
    needed = votes_for_accuracy(settings.accuracy, noise)
    return AnnotationPlan(settings, tuple(rows), needed, _advice(settings, rows, needed))


def _row(goal: str, votes: int, items: int, settings: PowerSettings) -> PlanRow:
    right = majority_accuracy(votes, settings.noise)
    return PlanRow(goal, votes, items, items * votes, annotators_for(items, votes, settings.per_annotator), right)


def _advice(settings: PowerSettings, rows: list[PlanRow], needed: int | None) -> str:
    one, last = rows[0], next(row for row in reversed(rows) if row.goal == rows[0].goal)
    observed = settings.noise.win_rate(settings.effect)
    advice = (
        f"To detect a win rate of {_share(settings.effect)}, measured as {_share(observed)} by these "
        f"annotators, judge {one.items:,} items once each, with {one.annotators} or more annotators"
    )
    if last.votes > 1:
        advice += (
            f" ({last.votes} votes per item take {last.judgements:,} judgements instead of {one.judgements:,})"
        )
    target = _share(settings.accuracy)
    if needed is None:
        return f"{advice}; no number of votes gives {target} correct labels, so train the annotators."
    return f"{advice}; for {target} correct labels collect {needed} vote{'s' * (needed > 1)} per item."


def simulate(
    settings: PowerSettings, items: int, votes: int, *, trials: int = TRIALS, seed: int = 0
) -> list[SimulationCheck]:
    """Simulate the study many times: how often it detects the win rate, and how many labels are right.

    Each trial draws which completion is better and the votes (`bradley_terry.choice_probabilities`), and tests
    the mean of the item means against 1/2 by their standard deviation. Large studies get fewer trials.

    Args:
        settings: of the study.
        items: number of items.
        votes: per item.
        trials: upper limit.
        seed: of all draws.

    Raises:
        ConfigError: the annotators never err, or there are too few items to test.
    """
    if items < 2:
        raise ConfigError("a single item has no standard deviation; simulate at least 2.")
    generator, noise = np.random.default_rng(seed), settings.noise
    behavior = noise.simulated_behavior()
    chances = list(
        choice_probabilities(behavior.sharpness, behavior.ties).values()
    )  # of the better, the worse, a tie
    reach = half_width(items, noise, effect=settings.effect, votes=votes, alpha=settings.alpha)
    bound = NORMAL.inv_cdf(1 - settings.alpha / 2)
    trials = min(trials, max(100, MOST_DRAWN // items))
    hits = np.zeros(3, dtype=np.int64)
    for start in range(0, trials, block := max(1, AT_ONCE // items)):
        size = (min(block, trials - start), items)
        better = generator.random(size) < settings.effect  # [trials, items]: A's answer is the better one
        drawn = generator.multinomial(votes, chances, size=size)  # [trials, items, 3]
        right, wrong, tied = (drawn[..., index] for index in range(3))
        means = (np.where(better, right, wrong) + tied / 2) / votes - 0.5
        mean, error = means.mean(axis=1), means.std(axis=1, ddof=1) / math.sqrt(items)
        detected = np.sign(settings.effect - 0.5) * mean > bound * error
        covered = np.abs(mean + 0.5 - noise.win_rate(settings.effect)) <= reach
        even = int((right == wrong).sum())
        labels = int((right > wrong).sum()) + int(generator.binomial(even, 0.5))
        hits += [int(detected.sum()), int(covered.sum()), labels]
    power = power_of_items(settings.effect, noise, items, votes=votes, alpha=settings.alpha)
    return [
        _trial("studies that detect the win rate", power, int(hits[0]), trials),
        _trial("intervals that contain the win rate", 1 - settings.alpha, int(hits[1]), trials),
        _trial("correct majorities", majority_accuracy(votes, noise), int(hits[2]), trials * items),
    ]


def _trial(name: str, expected: float, hits: int, of: int) -> SimulationCheck:
    interval = wilson_interval(hits, of)
    assert interval is not None
    return SimulationCheck(name, expected, hits / of, *interval)


def _share(value: float) -> str:
    """A share in percent, with a decimal if it is not whole."""
    return f"{value * 100:.1f}".removesuffix(".0") + "%"
