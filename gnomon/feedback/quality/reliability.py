"""Reliability of annotators: a score in [0, 1], the weighted mean of named parts.

A part with n cases is shrunk towards the group's mean with the credibility n / (n + k) (H. Bühlmann and E.
Straub, "Glaubwürdigkeit für Schadensätze", 1970): a new annotator has the group's mean, and a few lucky answers
hardly change it. Parts without cases are left out, and the weights of the others are scaled up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.core.errors import ConfigError
from gnomon.feedback.quality.annotator_metrics import AnnotatorMetrics, annotator_metrics
from gnomon.feedback.task_types import Limits
from gnomon.stats.intervals import Share
from gnomon.stats.votes import Vote

# Gold items are the most direct measure. The longer completion is often the better one, so a preference for it
# does not count unless the user gives `length` a weight.
WEIGHTS = {"gold": 0.4, "agreement": 0.3, "position": 0.1, "length": 0.0, "pace": 0.1, "reasons": 0.1}
# Of written texts nothing is known to be right, and no two annotators give the same answer.
WRITTEN_WEIGHTS = {"texts": 0.4, "reviews": 0.4, "pace": 0.1, "reasons": 0.1}
SHRINKAGE = 10.0  # k: with this many cases an annotator's own value weighs as much as the group's mean


@dataclass(frozen=True, slots=True)
class ReliabilityPart:
    """One part of a reliability score.

    Attributes:
        name: key of the weights.
        measured: value from this annotator's votes alone, in [0, 1]; 1 is best.
        cases: number of votes behind `measured`.
        value: `measured`, shrunk towards the group's mean.
        weight: weight in the score; the weights of an annotator's parts add up to 1.
    """

    name: str
    measured: float
    cases: int
    value: float
    weight: float


@dataclass(frozen=True, slots=True)
class AnnotatorReliability:
    """An annotator's metrics, the parts of their reliability, and the score; None where no part has cases."""

    metrics: AnnotatorMetrics
    parts: tuple[ReliabilityPart, ...]
    score: float | None

    @property
    def annotator(self) -> str:
        """The annotator's name."""
        return self.metrics.annotator


def annotator_reliability(
    votes: Iterable[Vote],
    gold: Mapping[Any, Hashable] | None = None,
    limits: Limits | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    shrinkage: float = SHRINKAGE,
) -> list[AnnotatorReliability]:
    """Compute the reliability of each annotator, sorted by name.

    Args:
        votes: all votes of all annotators, in any order.
        gold: correct label of each gold item.
        limits: thresholds for times and reasons.
        weights: weight of each part, instead of `WEIGHTS`; parts without one are left out.
        shrinkage: k, in cases; 0 does not shrink.

    Raises:
        ConfigError: a weight is unknown or below 0, or the shrinkage is below 0.
    """
    weights = WEIGHTS if weights is None else weights
    for name, weight in weights.items():
        if name not in PART_MEASURES:
            raise ConfigError(f"reliability has no part {name!r}; choose among {', '.join(PART_MEASURES)}.")
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"the weight of {name!r} in reliability is {weight}; pass a number of at least 0.")
    if not 0 <= shrinkage < float("inf"):
        raise ConfigError(f"the shrinkage of reliability is {shrinkage}; pass a number of cases of at least 0.")
    all_metrics = annotator_metrics(votes, gold, limits)
    # part -> annotator -> (measured, cases), for annotators with cases
    measured: dict[str, dict[str, tuple[float, int]]] = {}
    for name, measure in PART_MEASURES.items():
        if weights.get(name, 0.0) > 0:
            values = {metrics.annotator: measure(metrics) for metrics in all_metrics}
            measured[name] = {annotator: value for annotator, value in values.items() if value is not None}
    means = {name: _group_mean(list(values.values()), shrinkage) for name, values in measured.items() if values}
    return [_reliability(metrics, measured, means, weights, shrinkage) for metrics in all_metrics]


def annotators_to_pause(
    records: Iterable[AnnotatorReliability], min_reliability: float, min_votes_before_pause: int
) -> list[str]:
    """Return the annotators whose reliability is too low.

    Args:
        records: reliability of the annotators; those without a score are not returned.
        min_reliability: annotators with a lower score are returned.
        min_votes_before_pause: annotators with fewer votes are not returned.
    """
    return [
        record.annotator
        for record in records
        if record.metrics.votes >= min_votes_before_pause
        and record.score is not None
        and record.score < min_reliability
    ]


def _reliability(
    metrics: AnnotatorMetrics,
    measured: Mapping[str, Mapping[str, tuple[float, int]]],
    means: Mapping[str, float],
    weights: Mapping[str, float],
    shrinkage: float,
) -> AnnotatorReliability:
    """Shrink an annotator's parts towards the means and combine them."""
    own = {name: values[metrics.annotator] for name, values in measured.items() if metrics.annotator in values}
    total = sum(weights[name] for name in own)
    parts = []
    for name, (value, cases) in own.items():
        credibility = cases / (cases + shrinkage)
        shrunk = credibility * value + (1 - credibility) * means[name]
        parts.append(ReliabilityPart(name, value, cases, shrunk, weights[name] / total))
    score = sum(part.weight * part.value for part in parts) if parts else None
    return AnnotatorReliability(metrics, tuple(parts), score)


def _group_mean(values: Sequence[tuple[float, int]], shrinkage: float) -> float:
    """Bühlmann and Straub's collective mean, weighted by credibility.

    An annotator weighs at most 1, however many their votes, and little with one or two cases.
    """
    credibilities = [cases / (cases + shrinkage) for _, cases in values]
    weighted = (credibility * value for credibility, (value, _) in zip(credibilities, values, strict=True))
    return sum(weighted) / sum(credibilities)


def _gold(metrics: AnnotatorMetrics) -> tuple[float, int] | None:
    return None if metrics.gold.value is None else (metrics.gold.value, metrics.gold.of)


def _agreement(metrics: AnnotatorMetrics) -> tuple[float, int] | None:
    kappa = metrics.agreement.kappa
    # Agreement below chance counts as 0, like guessing: the annotator may have inverted the scale.
    return None if kappa is None else (max(0.0, kappa), metrics.agreement.votes)


def _evenness(share: Share) -> tuple[float, int] | None:
    # Only a deviation beyond chance counts: the distance of the interval from 1/2, not that of the share.
    return None if share.off_half is None else (1 - 2 * share.off_half, share.of)


def _pace(metrics: AnnotatorMetrics) -> tuple[float, int] | None:
    cases = max(metrics.too_fast.of, metrics.too_slow.of)  # equal, or one is 0 since it has no limit
    return (1 - (metrics.too_fast.hits + metrics.too_slow.hits) / cases, cases) if cases else None


def _reasons(metrics: AnnotatorMetrics) -> tuple[float, int] | None:
    reasons = metrics.short_reasons
    return None if reasons.value is None else (1 - reasons.value, reasons.of)


PART_MEASURES: dict[str, Callable[[AnnotatorMetrics], tuple[float, int] | None]] = {
    "gold": _gold,
    "agreement": _agreement,
    "position": lambda metrics: _evenness(metrics.first),
    "length": lambda metrics: _evenness(metrics.longer),
    "pace": _pace,
    "reasons": _reasons,
    "texts": lambda metrics: (
        None if metrics.flagged.value is None else (1 - metrics.flagged.value, metrics.flagged.of)
    ),
    "reviews": lambda metrics: (
        None if metrics.accepted.value is None else (metrics.accepted.value, metrics.accepted.of)
    ),
}
