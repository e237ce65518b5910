"""Probabilities σ(Δ score) beside people's choices: calibration, likelihood, Brier score; score distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnomon.core.lazy import special
from gnomon.evaluation.examination.cases import PairCase
from gnomon.evaluation.examination.results import ProbabilityFigures, ScoreDistributions, ScoreSummary
from gnomon.evaluation.reward_models import calibration, equal_mass_calibration
from gnomon.stats.calibration import Calibration

FloatArray = NDArray[np.float64]
HISTOGRAM_BINS = 24
OUTSIDE = 0.005  # share of scores beyond either end of a histogram
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def probability_figures(
    pairs: Sequence[PairCase], scores: FloatArray, bins: int, fitted: Calibration | None = None
) -> ProbabilityFigures:
    """Compute how well p = σ(s_first - s_second), or a calibrated p, predicts how many prefer the first.

    Each pair enters in both orders: with the preferred text always first, calibrated predictions would look
    underconfident. NLL is the mean of -t log p - (1 - t) log(1 - p), Brier's that of (p - t)², for a share t.
    If all decided pairs are in the right order, or all in the wrong one, calibration is undefined: nothing shows
    how often a verdict of that confidence fails.

    Args:
        pairs: all pairs, with those about which people are divided.
        scores: of all texts by index, [N].
        bins: of both calibrations.
        fitted: the calibration that a reward model was saved with.
    """
    gaps = _gaps(pairs, scores)
    valid = ~np.isnan(gaps)
    target = np.array([pair.probability for pair in pairs])[valid]  # [P]
    decided = np.array([pair.decided for pair in pairs])[valid]
    gaps = gaps[valid]
    if not gaps.size:
        return ProbabilityFigures(pairs=0)
    if fitted is None:
        probability, reverse = sigmoid(gaps), sigmoid(-gaps)
        loss = target * np.logaddexp(0, -gaps) + (1 - target) * np.logaddexp(0, gaps)
    else:
        probability = fitted.probability(gaps)
        reverse = 1 - probability
        loss = special.rel_entr(target, probability) + special.rel_entr(1 - target, reverse)  # less the entropy
        loss = loss + special.entr(target) + special.entr(1 - target)
    outcome = _one_outcome(gaps[decided])
    figures = {
        "pairs": gaps.size,
        "one_outcome": outcome,
        "calibration": fitted.method if fitted else "",
        "nll": float(loss.mean()),
        "brier": float(((probability - target) ** 2).mean()),
    }
    if outcome:
        return ProbabilityFigures.model_validate(figures)
    predicted = np.concatenate([probability, reverse])
    observed = np.concatenate([target, 1 - target])
    width, mass = calibration(predicted, observed, bins), equal_mass_calibration(predicted, observed, bins)
    return ProbabilityFigures.model_validate(
        {
            **figures,
            "ece": width.ece,
            "ece_equal_mass": mass.ece,
            "bins": width.bins,
            "bins_equal_mass": mass.bins,
        }
    )


def score_distributions(pairs: Sequence[PairCase], scores: FloatArray) -> ScoreDistributions:
    """Summarize the scores of preferred and of other texts over decided pairs with both scores.

    Args:
        pairs: decided pairs.
        scores: of all texts by index, [N].
    """
    both = np.array([(scores[pair.first], scores[pair.second]) for pair in pairs]).reshape(-1, 2)
    both = both[~np.isnan(both).any(axis=1)]  # [P, 2]
    if not both.size:
        return ScoreDistributions()
    low, high = np.quantile(both, [OUTSIDE, 1 - OUTSIDE])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    counts = [np.histogram(np.clip(side, low, high), edges)[0].tolist() for side in both.T]
    return ScoreDistributions(
        preferred=_summary(both[:, 0]),
        other=_summary(both[:, 1]),
        margin=_summary(both[:, 0] - both[:, 1]),
        edges=edges.tolist(),
        preferred_counts=counts[0],
        other_counts=counts[1],
    )


def sigmoid(values: FloatArray) -> FloatArray:
    """Compute 1/(1 + exp(-x)) without overflow."""
    result: FloatArray = np.exp(-np.logaddexp(0, -values))
    return result


def _gaps(pairs: Sequence[PairCase], scores: FloatArray) -> FloatArray:
    return np.array([scores[pair.first] - scores[pair.second] for pair in pairs], dtype=np.float64)


def _one_outcome(gaps: FloatArray) -> str:
    if gaps.size and (gaps > 0).all():
        return "right"
    return "wrong" if gaps.size and (gaps < 0).all() else ""


def _summary(values: FloatArray) -> ScoreSummary:
    quantiles = np.quantile(values, QUANTILES)
    names = (f"q{round(100 * share):02d}" for share in QUANTILES)
    spread = float(values.std(ddof=1)) if values.size > 1 else None
    named = dict(zip(names, quantiles.tolist(), strict=True))
    return ScoreSummary.model_validate({"mean": float(values.mean()), "sd": spread, **named})
