"""How far scores follow the length of completions, beside people's choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gnomon.evaluation.examination.cases import PairCase
from gnomon.evaluation.examination.measures.ranks import spearman
from gnomon.evaluation.examination.results import Accuracy, LengthFigures
from gnomon.stats.human_ceiling import pearson

FloatArray = NDArray[np.float64]
Measure = Callable[[NDArray[np.bool_]], Accuracy]  # accuracy on some of the pairs


def length_figures(
    pairs: Sequence[PairCase], scores: FloatArray, lengths: FloatArray, unit: str, accuracy: Measure
) -> LengthFigures:
    """Compute the relation of scores and lengths.

    Args:
        pairs: decided pairs.
        scores: of all texts by index, [N]; NaN without one.
        lengths: of all texts, [N]; NaN for texts that no pair has.
        unit: of the lengths.
        accuracy: computes the accuracy on the pairs of a mask, [P].
    """
    texts = np.array(sorted({text for pair in pairs for text in (pair.first, pair.second)}), dtype=np.int64)
    texts = texts[~np.isnan(scores[texts])]
    first, second = (np.array([getattr(pair, side) for pair in pairs]) for side in ("first", "second"))
    longer_by = lengths[first] - lengths[second]  # [P], of the text that people prefer
    agrees = np.sign(scores[first] - scores[second]) * np.sign(longer_by)
    unequal = (longer_by != 0) & ~np.isnan(agrees)
    return LengthFigures(
        unit=unit,
        texts=int(texts.size),
        pearson=_defined(pearson(scores[texts], lengths[texts])),
        spearman=_defined(spearman(scores[texts], lengths[texts])),
        prefers_longer=float((0.5 + 0.5 * agrees[unequal]).mean()) if unequal.any() else None,
        people_prefer_longer=float((longer_by[unequal] > 0).mean()) if unequal.any() else None,
        shorter=accuracy(longer_by < 0),
        longer=accuracy(longer_by > 0),
    )


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
