"""Kendall's τ-b and Spearman's ρ of scores and people's rankings or ratings: within prompts, and over all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnomon.core.lazy import stats
from gnomon.core.storage.result_model import Interval
from gnomon.evaluation.examination.cases import ListCase
from gnomon.evaluation.examination.results import RankFigures
from gnomon.stats.clustered import ClusterBootstrap
from gnomon.stats.human_ceiling import pearson
from gnomon.stats.rank_agreement import kendall_tau

FloatArray = NDArray[np.float64]


def rank_figures(lists: Sequence[ListCase], scores: FloatArray, seed: int, resamples: int) -> RankFigures | None:
    """Compute the rank agreement of scores with lists.

    Args:
        lists: rankings and rated texts.
        scores: of all texts by index, [N].
        seed: of the bootstrap over prompts.
        resamples: of the bootstrap.

    Returns:
        The figures; `None` without lists.
    """
    if not lists:
        return None
    several = [one for one in lists if len(one.texts) > 1]
    complete = [one for one in several if not np.isnan(scores[list(one.texts)]).any()]
    pairs = [(scores[list(one.texts)], np.array(one.values)) for one in complete]
    taus = [kendall_tau(one.tolist(), other.tolist()) for one, other in pairs]
    values = [math.nan if tau is None else tau.value for tau in taus]
    rhos = [spearman(*pair) for pair in pairs]
    clusters = [one.cluster for one in complete]
    return RankFigures(
        lists=len(complete),
        undefined=sum(map(math.isnan, values)),
        excluded=len(several) - len(complete),
        tau=_mean(values, clusters, seed, resamples),
        spearman=_mean(rhos, clusters, seed, resamples),
        tau_pooled=_pooled(pairs, values),
        spearman_all=_over_all([one for one in lists if one.rated], scores),
    )


def spearman(one: FloatArray, other: FloatArray) -> float:
    """Compute Spearman's ρ, ties with their mean rank; nan where a side does not vary."""
    if one.size < 2:
        return math.nan
    return pearson(stats.rankdata(one), stats.rankdata(other))


def _mean(values: Sequence[float], clusters: Sequence[int], seed: int, resamples: int) -> Interval:
    if not values:
        return Interval()
    estimate = ClusterBootstrap(clusters, clusters, seed, resamples).mean(values)
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high)


def _pooled(pairs: Sequence[tuple[FloatArray, FloatArray]], taus: Sequence[float]) -> float | None:
    """Compute τ-b over the pairs of all lists: concordant minus discordant ones over the root of untied ones.

    A list's numerator follows from its own τ-b, so that long lists need no loop over pairs.
    """
    total = one = other = 0.0
    for (scores, values), tau in zip(pairs, taus, strict=True):
        untied = _untied(scores), _untied(values)
        one, other = one + untied[0], other + untied[1]
        if not math.isnan(tau):
            total += tau * math.sqrt(untied[0] * untied[1])
    return total / math.sqrt(one * other) if one and other else None


def _untied(values: FloatArray) -> float:
    counts = np.unique(values, return_counts=True)[1]
    return float(values.size * (values.size - 1) - (counts * (counts - 1)).sum()) / 2


def _over_all(lists: Sequence[ListCase], scores: FloatArray) -> float | None:
    values = {text: value for one in lists for text, value in zip(one.texts, one.values, strict=True)}
    texts = [text for text in values if not math.isnan(scores[text])]
    rho = spearman(scores[texts], np.array([values[text] for text in texts]))
    return None if math.isnan(rho) else rho
