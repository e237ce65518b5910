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
MAX_SIMULATED_ITEMS = 200_000_000  # over all trials
BLOCK_ITEMS = 2_000_000  # items simulated in one array


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
        per_annotator: number of judgements per annotator.
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
    """Cost of a goal at a number of votes per item.

    Attributes:
        goal: description of the goal.
        votes: votes per item.
        items: number of items.
        judgements: number of judgements, `items * votes`.
        annotators: number of annotators.
        majority_accuracy: share of items whose majority is correct.
    """

    goal: str
    votes: int
    items: int
    judgements: int
    annotators: int
    majority_accuracy: float


@dataclass(frozen=True)
class AnnotationPlan:
    """Sample sizes of a study, with advice.

    Attributes:
        settings: the goals and assumptions.
        rows: cost of each goal at one vote per item and at the given number.
        votes: votes per item for the target accuracy; `None` if no number is enough.
        advice: the recommendation in one sentence.
    """

    settings: PowerSettings
    rows: tuple[PlanRow, ...]
    votes: int | None
    advice: str


@dataclass(frozen=True)
class SimulationCheck:
    """A simulated share with Wilson's 95% interval, beside its closed form.

    Attributes:
        name: description of the share.
        expected: value of the closed form.
        observed: simulated share.
        low, high: interval of `observed`.
    """

    name: str
    expected: float
    observed: float
    low: float
    high: float


def plan_annotation(settings: PowerSettings) -> AnnotationPlan:
    """Compute sample sizes for one vote per item and for the given number.

    Raises:
        ConfigError: the win rate is 1/2, or the annotators guess, so that no number of judgements is enough.
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
    annotators = annotators_for(items, votes, settings.per_annotator)
    return PlanRow(goal, votes, items, items * votes, annotators, majority_accuracy(votes, settings.noise))


def _advice(settings: PowerSettings, rows: list[PlanRow], needed: int | None) -> str:
    """Recommend numbers of items, votes and annotators; `needed` votes per item reach the target accuracy."""
    single, last = rows[0], next(row for row in reversed(rows) if row.goal == rows[0].goal)
    observed = settings.noise.win_rate(settings.effect)
    advice = (
        f"To detect a win rate of {_share(settings.effect)}, measured as {_share(observed)} by these "
        f"annotators, judge {single.items:,} items once each, with {single.annotators} or more annotators"
    )
    if last.votes > 1:
        advice += (
            f" ({last.votes} votes per item take {last.judgements:,} judgements instead of {single.judgements:,})"
        )
    target = _share(settings.accuracy)
    if needed is None:
        return f"{advice}; no number of votes gives {target} correct labels, so train the annotators."
    return f"{advice}; for {target} correct labels collect {needed} vote{'s' * (needed > 1)} per item."


def simulate(
    settings: PowerSettings, items: int, votes: int, *, trials: int = TRIALS, seed: int = 0
) -> list[SimulationCheck]:
    """Simulate the study many times, to check its power, the coverage of its interval and its majorities.

    Each trial draws which completion is better and the votes (`bradley_terry.choice_probabilities`), and tests
    the mean of the item means against 1/2 by their standard deviation. Large studies get fewer trials.

    Args:
        settings: goals and assumptions of the study.
        items: number of items.
        votes: votes per item.
        trials: maximum number of trials.
        seed: seed of all draws.

    Raises:
        ConfigError: the annotators never err, or there are fewer than two items.
    """
    if items < 2:
        raise ConfigError("a single item has no standard deviation; simulate at least 2.")
    rng, noise = np.random.default_rng(seed), settings.noise
    behavior = noise.simulated_behavior()
    # Probabilities of a vote for the better, for the worse, and of a tie.
    probabilities = list(choice_probabilities(behavior.sharpness, behavior.ties).values())
    width = half_width(items, noise, effect=settings.effect, votes=votes, alpha=settings.alpha)
    bound = NORMAL.inv_cdf(1 - settings.alpha / 2)
    trials = min(trials, max(100, MAX_SIMULATED_ITEMS // items))
    hits = np.zeros(3, dtype=np.int64)
    for start in range(0, trials, block := max(1, BLOCK_ITEMS // items)):
        size = (min(block, trials - start), items)
        better = rng.random(size) < settings.effect  # [trials, items]: A's completion is the better one
        counts = rng.multinomial(votes, probabilities, size=size)  # [trials, items, 3]
        correct, wrong, tied = (counts[..., index] for index in range(3))
        means = (np.where(better, correct, wrong) + tied / 2) / votes - 0.5
        mean, error = means.mean(axis=1), means.std(axis=1, ddof=1) / math.sqrt(items)
        detected = np.sign(settings.effect - 0.5) * mean > bound * error
        covered = np.abs(mean + 0.5 - noise.win_rate(settings.effect)) <= width
        even = int((correct == wrong).sum())
        labels = int((correct > wrong).sum()) + int(rng.binomial(even, 0.5))
        hits += [int(detected.sum()), int(covered.sum()), labels]
    power = power_of_items(settings.effect, noise, items, votes=votes, alpha=settings.alpha)
    return [
        _check("studies that detect the win rate", power, int(hits[0]), trials),
        _check("intervals that contain the win rate", 1 - settings.alpha, int(hits[1]), trials),
        _check("correct majorities", majority_accuracy(votes, noise), int(hits[2]), trials * items),
    ]


def _check(name: str, expected: float, hits: int, n: int) -> SimulationCheck:
    interval = wilson_interval(hits, n)
    assert interval is not None
    return SimulationCheck(name, expected, hits / n, *interval)


def _share(value: float) -> str:
    """Format a share in percent, with one decimal unless it is whole."""
    return f"{value * 100:.1f}".removesuffix(".0") + "%"
