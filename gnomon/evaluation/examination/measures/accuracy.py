"""Accuracy on pairs that people decided, overall and by category, of rewards, baselines and one person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnomon.evaluation.examination.cases import Cases, PairCase
from gnomon.evaluation.examination.categories import FEW
from gnomon.evaluation.examination.results import (
    Accuracy,
    AccuracyDifference,
    CategoryAccuracy,
    PersonComparison,
    ScorerAccuracy,
)
from gnomon.stats.clustered import ClusterBootstrap

FloatArray = NDArray[np.float64]


class PairAccuracy:
    """Accuracies over the decided pairs, all from the same resamples of prompts."""

    def __init__(self, cases: Cases, seed: int, resamples: int):
        self.pairs = cases.decided
        self.categories = cases.categories
        self._first = np.array([pair.first for pair in self.pairs], dtype=np.int64)
        self._second = np.array([pair.second for pair in self.pairs], dtype=np.int64)
        self._seed, self._resamples = seed, resamples
        self._members = {
            name: np.array([pair.category == name for pair in self.pairs]) for name in self.categories
        }
        self._bootstrap = self._resampled(np.ones(len(self.pairs), dtype=bool))
        self._by_category = {name: self._resampled(members) for name, members in self._members.items()}

    def _resampled(self, members: NDArray[np.bool_]) -> ClusterBootstrap:
        clusters = np.array([pair.clusters for pair in self.pairs])[members]
        return ClusterBootstrap(clusters[:, 0], clusters[:, 1], self._seed, self._resamples)

    def right(self, scores: FloatArray) -> FloatArray:
        """Return 1 where the preferred text scores higher, 0.5 where both are equal, 0 where it is lower, [P].

        NaN where a text has no score.
        """
        return right_order(scores[self._first] - scores[self._second])

    def of(self, name: str, kind: str, right: FloatArray) -> ScorerAccuracy:
        """Summarize which pairs are in the right order.

        Args:
            name: of the reward or baseline.
            kind: `model`, `baseline` or `human`.
            right: as from `right`.
        """
        rows = [
            CategoryAccuracy(
                name=category,
                few=int((~np.isnan(right[members])).sum()) < FEW,
                accuracy=_accuracy(right[members], self._by_category[category]),
            )
            for category, members in self._members.items()
        ]
        return ScorerAccuracy(name=name, kind=kind, overall=_accuracy(right, self._bootstrap), categories=rows)

    def on(self, right: FloatArray, members: NDArray[np.bool_]) -> Accuracy:
        """Return the accuracy on some of the pairs.

        Args:
            right: as from `right`, [P].
            members: which pairs count, [P].
        """
        return _accuracy(right[members], self._resampled(members))

    def difference(self, names: tuple[str, str], right: tuple[FloatArray, FloatArray]) -> AccuracyDifference:
        """Compare two rewards on the pairs that both scored."""
        result = self._bootstrap.difference(*right)
        return AccuracyDifference(
            model=names[0],
            against=names[1],
            value=result.value,
            low=result.low,
            high=result.high,
            p=result.p,
            pairs=result.pairs,
        )

    def person(self, scores: dict[str, FloatArray]) -> PersonComparison | None:
        """Compare one person, and each reward, with what the others chose; `None` where no votes are known.

        Each vote whose others are not tied counts once.
        """
        weights = np.array([len(pair.persons) for pair in self.pairs], dtype=np.float64)
        if not weights.any():
            return None
        persons = np.array([_mean([one.person for one in pair.persons]) for pair in self.pairs])
        models = {}
        for name, values in scores.items():
            gaps = values[self._first] - values[self._second]
            right = [_agreement(pair, gap) for pair, gap in zip(self.pairs, gaps.tolist(), strict=True)]
            models[name] = _accuracy(np.array(right), self._bootstrap, weights)
        person = _accuracy(persons, self._bootstrap, weights)
        return PersonComparison(pairs=int((weights > 0).sum()), person=person, models=models)


def right_order(differences: FloatArray) -> FloatArray:
    """Return 1 for positive differences, 0.5 for 0, 0 for negative ones and NaN for NaN."""
    return 0.5 + 0.5 * np.sign(differences)


def _agreement(pair: PairCase, gap: float) -> float:
    if np.isnan(gap):
        return float("nan")
    return _mean([one.agreement(gap) for one in pair.persons])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _accuracy(right: FloatArray, bootstrap: ClusterBootstrap, weights: FloatArray | None = None) -> Accuracy:
    valid = right[~np.isnan(right)]
    estimate = bootstrap.mean(right, weights)
    return Accuracy(
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        pairs=valid.size,
        equal=int((valid == 0.5).sum()),
        excluded=right.size - valid.size,
    )
