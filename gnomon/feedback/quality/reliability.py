"""How far each annotator can be relied on: one score in [0, 1] that says what it is made of.

A facet on which somebody was seen n times is drawn towards the group's mean with the credibility n / (n + k)
(H. Bühlmann and E. Straub, "Glaubwürdigkeit für Schadensätze", 1970): three lucky answers make no expert, and
who is new stands where the group stands. Facets without data are left out, and the weights of the rest grow.
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

# Answers that are known to be right say most. The longer answer is often the better one, so who prefers it is
# not the worse for it unless the user gives `length` a weight.
WEIGHTS = {"gold": 0.4, "agreement": 0.3, "position": 0.1, "length": 0.0, "pace": 0.1, "reasons": 0.1}
SHRINKAGE = 10.0  # k: as many cases weigh as much as the group's mean


@dataclass(frozen=True, slots=True)
class ReliabilityPart:
    """One part of a reliability score.

    Attributes:
        name: a key of the weights.
        measured: in [0, 1], 1 is best, from this annotator's votes alone.
        cases: votes behind it.
        value: `measured`, drawn towards the group's mean.
        weight: its part in the score; the weights of an annotator's parts add up to 1.
    """

    name: str
    measured: float
    cases: int
    value: float
    weight: float


@dataclass(frozen=True, slots=True)
class AnnotatorReliability:
    """What an annotator did, and the score made of it; the score is None where no part has data."""

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
    """Everybody's record, by name.

    Args:
        votes: all votes of all annotators, in any order.
        gold: the right label of the items that have a known one.
        limits: what is too fast, too slow and too short.
        weights: of the parts, in place of `WEIGHTS`; a part that is not named counts for nothing.
        shrinkage: k, in cases; 0 takes everybody as measured.

    Raises:
        ConfigError: a weight is unknown or below 0, or the shrinkage is below 0.
    """
    weights = WEIGHTS if weights is None else weights
    for name, weight in weights.items():
        if name not in PART_MEASURES:
            raise ConfigError(f"reliability has no part {name!r}; choose among {', '.join(PART_MEASURES)}.")
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"the weight of {name!r} in reliability is {weight}; give a number from 0.")
    if not 0 <= shrinkage < float("inf"):
        raise ConfigError(f"the shrinkage of reliability is {shrinkage}; give a number of cases from 0.")
    everybody = annotator_metrics(votes, gold, limits)
    # name -> annotator -> (measured, cases), where there are any
    measured: dict[str, dict[str, tuple[float, int]]] = {}
    for name in PART_MEASURES:
        if weights.get(name, 0.0) > 0:
            found = {one.annotator: PART_MEASURES[name](one) for one in everybody}
            measured[name] = {who: facet for who, facet in found.items() if facet is not None}
    means = {name: _group_mean(list(facets.values()), shrinkage) for name, facets in measured.items() if facets}
    return [_record(one, measured, means, weights, shrinkage) for one in everybody]


def paused(
    found: Iterable[AnnotatorReliability], min_reliability: float, min_votes_before_pause: int
) -> list[str]:
    """Who has at least so many votes and a score below the min_reliability; nobody whose score is undefined."""
    return [
        record.annotator
        for record in found
        if record.metrics.votes >= min_votes_before_pause
        and record.score is not None
        and record.score < min_reliability
    ]


def _record(
    one: AnnotatorMetrics,
    measured: Mapping[str, Mapping[str, tuple[float, int]]],
    means: Mapping[str, float],
    weights: Mapping[str, float],
    shrinkage: float,
) -> AnnotatorReliability:
    there = {name: facets[one.annotator] for name, facets in measured.items() if one.annotator in facets}
    total = sum(weights[name] for name in there)
    parts = []
    for name, (value, cases) in there.items():
        own = cases / (cases + shrinkage)
        drawn = own * value + (1 - own) * means[name]
        parts.append(ReliabilityPart(name, value, cases, drawn, weights[name] / total))
    score = sum(part.weight * part.value for part in parts) if parts else None
    return AnnotatorReliability(one, tuple(parts), score)


def _group_mean(facets: Sequence[tuple[float, int]], shrinkage: float) -> float:
    """Bühlmann and Straub's collective mean: everybody weighs as much as their own record is worth.

    So nobody weighs more than 1, however many their votes, and those seen once or twice weigh little.
    """
    worth = [cases / (cases + shrinkage) for _, cases in facets]
    return sum(own * value for own, (value, _) in zip(worth, facets, strict=True)) / sum(worth)


def _gold(one: AnnotatorMetrics) -> tuple[float, int] | None:
    return None if one.gold.value is None else (one.gold.value, one.gold.of)


def _agreement(one: AnnotatorMetrics) -> tuple[float, int] | None:
    kappa = one.agreement.kappa
    # Below chance is not below nothing: whoever turns the scale round gets 0 like whoever guesses.
    return None if kappa is None else (max(0.0, kappa), one.agreement.votes)


def _evenness(share: Share) -> tuple[float, int] | None:
    # Only what chance does not explain counts: the distance of the interval from 1/2, not that of the share.
    return None if share.off_half is None else (1 - 2 * share.off_half, share.of)


def _pace(one: AnnotatorMetrics) -> tuple[float, int] | None:
    cases = max(one.too_fast.of, one.too_slow.of)  # the same, or one of them 0 where it has no limit
    return (1 - (one.too_fast.hits + one.too_slow.hits) / cases, cases) if cases else None


def _reasons(one: AnnotatorMetrics) -> tuple[float, int] | None:
    return None if one.short_reasons.value is None else (1 - one.short_reasons.value, one.short_reasons.of)


PART_MEASURES: dict[str, Callable[[AnnotatorMetrics], tuple[float, int] | None]] = {
    "gold": _gold,
    "agreement": _agreement,
    "position": lambda one: _evenness(one.first),
    "length": lambda one: _evenness(one.longer),
    "pace": _pace,
    "reasons": _reasons,
}
