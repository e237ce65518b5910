"""What a round of judgements will cost, as a table and a sentence; and the same by simulated annotators."""

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
    Noise,
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


class Wish(Settings):
    """What somebody wants to know, and how their annotators judge.

    Attributes:
        effect: the win rate that a judge without error would find.
        kappa: of two annotators, ties left out.
        power: with which the win rate is to be told from 1/2.
        votes: of an item.
        ties: share of the votes.
        width: how far the interval of the win rate may reach to either side.
        accuracy: how often the majority of an item is to be right.
        each: judgements that one annotator makes.
        alpha: how often a test may find a difference where there is none; 1 − alpha is the interval's level.
    """

    effect: Annotated[float, Range("it is a win rate", ge=0, le=1)] = 0.6
    kappa: Annotated[float, Range("it is an agreement beyond chance", ge=0, le=1)] = 0.4
    power: Annotated[float, Range("it is a probability that no finite test reaches 0 or 1 of", gt=0, lt=1)] = 0.8
    votes: Annotated[int, Range("it counts judgements of an item", ge=1, le=10**6)] = 3
    ties: Annotated[float, Range("it is a share, and some votes must decide", ge=0, lt=1)] = 0.0
    width: Annotated[float, Range("no interval of a share is wider", gt=0, lt=0.5)] = 0.05
    accuracy: Annotated[float, Range("it is a probability that no majority reaches 0 or 1 of", gt=0, lt=1)] = 0.9
    each: Annotated[int, Range("it counts judgements of an annotator", ge=1, le=10**9)] = 200
    alpha: Annotated[float, Range("it is the probability of an error", gt=0, lt=1)] = 0.05

    @property
    def noise(self) -> Noise:
        """How such annotators err."""
        return Noise(accuracy_from_kappa(self.kappa), self.ties)


@dataclass(frozen=True)
class Row:
    """What one wish takes at so many votes an item.

    Attributes:
        right: how often the majority of an item's votes is right.
    """

    wish: str
    votes: int
    items: int
    judgements: int
    annotators: int
    right: float


@dataclass(frozen=True)
class Plan:
    """The table, and what to do."""

    wish: Wish
    rows: tuple[Row, ...]
    votes: int | None  # whose majority is as often right as wished
    advice: str


@dataclass(frozen=True)
class Trial:
    """What simulated annotators found, with Wilson's 95% interval.

    Attributes:
        said: what the closed form says of it.
    """

    what: str
    said: float
    found: float
    low: float
    high: float


def make_plan(wish: Wish) -> Plan:
    """The table of a wish: at one vote an item, and at the wished number.

    Raises:
        ConfigError: no number of judgements is enough.
    """
    noise, rows = wish.noise, []
    for votes in sorted({1, wish.votes}):
        told = items_for_power(wish.effect, noise, votes=votes, power=wish.power, alpha=wish.alpha)
        rows.append(_row(f"tell {_share(wish.effect)} from 50%", votes, told, wish))
    for votes in sorted({1, wish.votes}):
        wide = items_for_width(wish.width, noise, effect=wish.effect, votes=votes, alpha=wish.alpha)
        rows.append(_row(f"know it to ±{_share(wish.width)}", votes, wide, wish))
    needed = votes_for_accuracy(wish.accuracy, noise)
    return Plan(wish, tuple(rows), needed, _advice(wish, rows, needed))


def _row(what: str, votes: int, items: int, wish: Wish) -> Row:
    right = majority_accuracy(votes, wish.noise)
    return Row(what, votes, items, items * votes, annotators_for(items, votes, wish.each), right)


def _advice(wish: Wish, rows: list[Row], needed: int | None) -> str:
    one, last = rows[0], next(row for row in reversed(rows) if row.wish == rows[0].wish)
    seen = wish.noise.win_rate(wish.effect)
    said = (
        f"To tell a win rate of {_share(wish.effect)} from 50%, which these annotators show as {_share(seen)}, "
        f"ask {one.items:,} items once each, of {one.annotators} or more annotators"
    )
    if last.votes > 1:
        said += f" ({last.votes} votes an item take {last.judgements:,} judgements instead of {one.judgements:,})"
    if needed is None:
        return (
            f"{said}; no number of votes makes labels right in {_share(wish.accuracy)}, so train the annotators."
        )
    return (
        f"{said}; for labels right in {_share(wish.accuracy)} ask {needed} vote{'s' * (needed > 1)} of each item."
    )


def simulate(wish: Wish, items: int, votes: int, *, trials: int = TRIALS, seed: int = 0) -> list[Trial]:
    """Repeat the whole round with simulated annotators: how often it tells the win rate, and labels are right.

    Each trial draws which answers are better and what annotators say of them (`simulated.choice_probabilities`),
    and tests the mean of the items' means against 1/2 by their own deviation. Many items have fewer trials.

    Raises:
        ConfigError: the annotators never err, or there are too few items to test.
    """
    if items < 2:
        raise ConfigError("one item has no deviation to test by; simulate at least 2.")
    generator, noise = np.random.default_rng(seed), wish.noise
    manner = noise.manner()
    chances = list(
        choice_probabilities(manner.sharpness, manner.ties).values()
    )  # of the better, the worse, a tie
    reach = half_width(items, noise, effect=wish.effect, votes=votes, alpha=wish.alpha)
    bound = NORMAL.inv_cdf(1 - wish.alpha / 2)
    trials = min(trials, max(100, MOST_DRAWN // items))
    hits = np.zeros(3, dtype=np.int64)
    for start in range(0, trials, block := max(1, AT_ONCE // items)):
        size = (min(block, trials - start), items)
        better = generator.random(size) < wish.effect  # [trials, items]: A's answer is the better one
        drawn = generator.multinomial(votes, chances, size=size)  # [trials, items, 3]
        right, wrong, tied = (drawn[..., place] for place in range(3))
        means = (np.where(better, right, wrong) + tied / 2) / votes - 0.5
        mean, error = means.mean(axis=1), means.std(axis=1, ddof=1) / math.sqrt(items)
        told = np.sign(wish.effect - 0.5) * mean > bound * error
        covered = np.abs(mean + 0.5 - noise.win_rate(wish.effect)) <= reach
        even = int((right == wrong).sum())
        labels = int((right > wrong).sum()) + int(generator.binomial(even, 0.5))
        hits += [int(told.sum()), int(covered.sum()), labels]
    power = power_of_items(wish.effect, noise, items, votes=votes, alpha=wish.alpha)
    return [
        _trial("rounds that tell the win rate from 50%", power, int(hits[0]), trials),
        _trial("intervals that hold the win rate", 1 - wish.alpha, int(hits[1]), trials),
        _trial("majorities that are right", majority_accuracy(votes, noise), int(hits[2]), trials * items),
    ]


def _trial(what: str, said: float, hits: int, of: int) -> Trial:
    interval = wilson_interval(hits, of)
    assert interval is not None
    return Trial(what, said, hits / of, *interval)


def _share(value: float) -> str:
    """In percent, with a decimal where it has one."""
    return f"{value * 100:.1f}".removesuffix(".0") + "%"
