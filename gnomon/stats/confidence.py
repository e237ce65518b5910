"""Calibration of annotators' stated confidence: is an annotator right more often where they are more confident?

A vote on an item with a known answer is right or wrong. On other items it is right to the degree that the others
agree: the share of the others' votes that are equal. Each annotator is compared with themselves, so that somebody
who is always confident and always right proves nothing: right votes and confidences count as differences from the
annotator's own means, and the slope is that of least squares (the "within" estimator of panel data).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.stats.intervals import Estimate, IntArray, bootstrap, wilson_interval
from gnomon.stats.votes import Vote

STEPS = 4  # levels are 0, 1/4, …, 1: the five steps of the page
MIN_VOTES, MIN_ITEMS = 50, 20  # with fewer, nothing is concluded
MIN_WEIGHT = 0.1  # no vote is lost for its confidence
SEED = 0


@dataclass(frozen=True, slots=True)
class ConfidenceLevel:
    """Votes whose confidence is nearest to one level.

    Attributes:
        confidence: the level, in [0, 1].
        votes: number of votes.
        accuracy: share of right votes.
        interval: its 95% interval by Wilson, as if the votes were independent.
    """

    confidence: float
    votes: int
    accuracy: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ConfidenceCalibration:
    """Relation of stated confidence to right votes.

    Attributes:
        votes: number of votes with a confidence that can be checked.
        items: number of their items.
        levels: levels of confidence that occur, in increasing order.
        slope: rise of an annotator's share of right votes from confidence 0 to 1, with a 95% bootstrap interval
            over items; undefined if no annotator uses two levels.
        is_calibrated: whether the interval of the slope is above 0, with at least `MIN_VOTES` votes on
            `MIN_ITEMS` items. Votes are weighted by confidence only then.
        accuracy: share of right votes.
        means: mean confidence of each annotator.
    """

    votes: int
    items: int
    levels: tuple[ConfidenceLevel, ...]
    slope: Estimate
    is_calibrated: bool
    accuracy: float | None
    means: Mapping[str, float] = field(default_factory=dict)

    def weight(self, annotator: str, confidence: float | None) -> float:
        """Return the weight of a vote: how likely it is right, relative to the annotator's other votes.

        An annotator's weights have the mean 1, unless one is raised to `MIN_WEIGHT`. The weight is 1 without a
        confidence, and if confidence is not calibrated.
        """
        mean = self.means.get(annotator)
        if not self.is_calibrated or confidence is None or mean is None:
            return 1.0
        assert self.slope.value is not None
        assert self.accuracy  # a slope above 0 needs right votes
        return max(MIN_WEIGHT, 1 + self.slope.value * (confidence - mean) / self.accuracy)


@dataclass(frozen=True, slots=True)
class _CheckedVote:
    """A vote with a confidence, and how far it is right, in [0, 1]."""

    annotator: str
    item: Hashable
    confidence: float
    right: float


def confidence_calibration(
    votes: Iterable[Vote], gold: Mapping[Any, Hashable] | None = None
) -> ConfidenceCalibration:
    """Compare stated confidences with right votes.

    Args:
        votes: all votes; those without a confidence only serve to check the others'.
        gold: correct label of each item whose answer is known.
    """
    checked = _check_votes(list(votes), gold or {})
    items = {item: index for index, item in enumerate(dict.fromkeys(one.item for one in checked))}
    right = np.array([one.right for one in checked])  # [V]
    confidence = np.array([one.confidence for one in checked])  # [V]
    annotators = [one.annotator for one in checked]
    slope = _within_slope(
        np.array([items[one.item] for one in checked], dtype=np.int64),
        _centered(confidence, annotators),
        _centered(right, annotators),
        len(items),
    )
    enough = len(checked) >= MIN_VOTES and len(items) >= MIN_ITEMS
    return ConfidenceCalibration(
        len(checked),
        len(items),
        _levels(checked),
        slope,
        enough and slope.low is not None and slope.low > 0,
        float(right.mean()) if checked else None,
        _means(confidence, annotators),
    )


def _check_votes(votes: Sequence[Vote], gold: Mapping[Any, Hashable]) -> list[_CheckedVote]:
    """Check the votes that have a confidence, against the known answer or against the others."""
    labels: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
    for vote in votes:
        labels[vote.item][vote.label] += 1
    checked = []
    for vote in votes:
        others = labels[vote.item].total() - 1
        if vote.confidence is None or (vote.item not in gold and not others):
            continue
        if vote.item in gold:
            right = float(vote.label == gold[vote.item])
        else:
            right = (labels[vote.item][vote.label] - 1) / others
        checked.append(_CheckedVote(vote.annotator, vote.item, vote.confidence, right))
    return checked


def _levels(checked: Sequence[_CheckedVote]) -> tuple[ConfidenceLevel, ...]:
    """Summarize the votes of each level."""
    by_level: dict[float, list[float]] = defaultdict(list)
    for one in checked:
        by_level[round(one.confidence * STEPS) / STEPS].append(one.right)
    return tuple(
        ConfidenceLevel(level, len(right), sum(right) / len(right), wilson_interval(sum(right), len(right)))
        for level, right in sorted(by_level.items())
    )


def _means(values: NDArray[np.float64], annotators: Sequence[str]) -> dict[str, float]:
    """Return each annotator's mean of the values of their votes."""
    own: dict[str, list[float]] = defaultdict(list)
    for annotator, value in zip(annotators, values.tolist(), strict=True):
        own[annotator].append(value)
    return {annotator: sum(known) / len(known) for annotator, known in own.items()}


def _centered(values: NDArray[np.float64], annotators: Sequence[str]) -> NDArray[np.float64]:
    """Subtract from each value, [V], the mean of its annotator."""
    means = _means(values, annotators)
    centered: NDArray[np.float64] = values - np.array([means[annotator] for annotator in annotators])
    return centered


def _within_slope(
    items: IntArray, confidence: NDArray[np.float64], right: NDArray[np.float64], count: int
) -> Estimate:
    """Estimate the slope of right votes on confidence, with an interval from resampled items.

    Args:
        items: index of each vote's item, [V].
        confidence: centered confidence of each vote, [V].
        right: centered share by which each vote is right, [V].
        count: number of items, I.
    """
    if count == 0:
        return Estimate(None, None, None)
    squares = np.bincount(items, confidence**2, count)  # [I]
    products = np.bincount(items, confidence * right, count)  # [I]

    def slope(indices: IntArray, _: np.random.Generator) -> float:
        spread = squares[indices].sum()
        return float(products[indices].sum() / spread) if spread > 1e-9 else float("nan")

    return bootstrap(slope, count, SEED)
