"""Agreement of a judge's scores with people, and calibration of its probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.core.errors import DataError
from gnomon.core.lazy import stats
from gnomon.core.types import RatedText
from gnomon.evaluation.results import CalibrationBin, CalibrationResult
from gnomon.stats.human_ceiling import order_agreement, pearson, random_pairs
from gnomon.stats.intervals import Estimate, bootstrap

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def agreement_with_people(
    scores: ArrayLike, items: Sequence[RatedText], pairs: int, seed: int
) -> dict[str, Estimate]:
    """Compare scores with mean ratings.

    The intervals come from a bootstrap over items, with new pairs drawn in every resample: pairs that share an
    item are not independent, and treating them as independent would make the interval too narrow.

    Args:
        scores: the judge's score of each item, `[N]`, on any scale.
        items: texts with people's ratings.
        pairs: random pairs of items for the agreement on order.
        seed: seed of the bootstrap and the pairs.

    Returns:
        `pearson` and `spearman` over items; `pair_accuracy`, the share of pairs that the scores order as the
        mean ratings do, equal scores count half and pairs with equal means skipped.

    Raises:
        DataError: scores that are missing or not finite.
    """
    predicted = np.asarray(scores, dtype=np.float64)
    if predicted.shape != (len(items),):
        raise DataError(f"{len(items)} items need as many scores, not an array of shape {predicted.shape}.")
    if not np.isfinite(predicted).all():
        raise DataError("a score is not a finite number; a judge that fails on a text must leave it out.")
    means = np.array([item.mean for item in items], dtype=np.float64)

    def spearman(sample: IntArray, _: np.random.Generator) -> float:
        return pearson(stats.rankdata(predicted[sample]), stats.rankdata(means[sample]))

    def pair_accuracy(sample: IntArray, rng: np.random.Generator) -> float:
        if sample.size < 2:
            return float("nan")
        first, second = (sample[side] for side in random_pairs(sample.size, pairs, rng))
        return order_agreement(predicted[first] - predicted[second], means[first] - means[second])

    return {
        "pearson": bootstrap(lambda at, _: pearson(predicted[at], means[at]), len(items), seed),
        "spearman": bootstrap(spearman, len(items), seed),
        "pair_accuracy": bootstrap(pair_accuracy, len(items), seed),
    }


def calibration(
    predicted_probability: ArrayLike, observed_probability: ArrayLike, bins: int
) -> CalibrationResult:
    """Compute calibration errors: pairs with predicted probability p should be preferred by a share p of people.

    ECE = sum over bins b of (n_b / n) * |mean predicted_b - mean observed_b|, with bins of equal width over
    [0, 1], each closed on the left, the last on both sides (M.P. Naeini et al., AAAI 2015; C. Guo et al., ICML
    2017). It is undefined without pairs.

    Args:
        predicted_probability: probability that a is preferred to b, `[P]`. Choose which text is a independently
            of the outcome: with a always the winner, calibrated predictions look underconfident.
        observed_probability: share of pairs of human ratings that prefer a, ties counted half, `[P]`.
        bins: number of bins.

    Raises:
        DataError: lengths that differ, values outside [0, 1], or no bins.
    """
    predicted, observed = _checked(predicted_probability, observed_probability, bins)
    return _binned(predicted, observed, np.minimum((predicted * bins).astype(np.int64), bins - 1))


def equal_mass_calibration(
    predicted_probability: ArrayLike, observed_probability: ArrayLike, bins: int
) -> CalibrationResult:
    """Compute calibration errors as `calibration` does, with bins that hold about as many pairs each.

    Bins of equal width are nearly empty where few predictions are, and their errors noisy (K. Nguyen and B.
    O'Connor, EMNLP 2015; A. Kumar et al., NeurIPS 2019). The edges are quantiles of the predictions; equal
    predictions share a bin.

    Args:
        predicted_probability: as for `calibration`, `[P]`.
        observed_probability: as for `calibration`, `[P]`.
        bins: number of bins; fewer where many predictions are equal.

    Raises:
        DataError: lengths that differ, values outside [0, 1], or no bins.
    """
    predicted, observed = _checked(predicted_probability, observed_probability, bins)
    if not predicted.size:
        return CalibrationResult(ece=None, rms=None, worst=None, bins=[])
    edges = np.unique(np.quantile(predicted, np.arange(1, bins) / bins))
    return _binned(predicted, observed, np.searchsorted(edges, predicted, side="right"))


def _checked(
    predicted_probability: ArrayLike, observed_probability: ArrayLike, bins: int
) -> tuple[FloatArray, FloatArray]:
    predicted = np.asarray(predicted_probability, dtype=np.float64)
    observed = np.asarray(observed_probability, dtype=np.float64)
    if predicted.ndim != 1 or predicted.shape != observed.shape:
        raise DataError(f"predictions {predicted.shape} and observations {observed.shape} must be paired.")
    if bins < 1:
        raise DataError(f"calibration needs at least one bin, not {bins}.")
    both = np.concatenate([predicted, observed])
    if not ((both >= 0) & (both <= 1)).all():  # also false for nan
        raise DataError("a probability lies outside 0 to 1.")
    return predicted, observed


def _binned(predicted: FloatArray, observed: FloatArray, bin_index: IntArray) -> CalibrationResult:
    """Compute the errors of pairs in the bins with these numbers, [P] each."""
    rows = [
        CalibrationBin(
            predicted=float(predicted[bin_index == number].mean()),
            observed=float(observed[bin_index == number].mean()),
            count=int((bin_index == number).sum()),
        )
        for number in np.unique(bin_index)
    ]
    if not rows:
        return CalibrationResult(ece=None, rms=None, worst=None, bins=[])
    gaps = np.array([abs((row.predicted or 0.0) - (row.observed or 0.0)) for row in rows])
    share = np.array([row.count for row in rows]) / predicted.size
    return CalibrationResult(
        ece=float(share @ gaps), rms=float(np.sqrt(share @ gaps**2)), worst=float(gaps.max()), bins=rows
    )
