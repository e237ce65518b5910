"""Labels that the length of the text predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gnomon.core.types import Label, Preference
from gnomon.data.quality.contract import Action, Candidates, Decision, FileFilter, Part, Row
from gnomon.data.quality.texts import digest, media_key, named_texts, prompt_text
from gnomon.stats.intervals import bootstrap

MOST = 100_000  # records for the fit
FEWEST = 40  # records below which nothing is fitted
Floats = NDArray[np.float64]


class LengthBias(FileFilter):
    """Measures how well length alone predicts the label: the AUC of a logistic fit on records not fitted to.

    Half of the prompts fit, the other half is measured; a pair is shown in random order. 0.5 is chance. A judge
    trained on labels that length predicts learns length. It is measured and reported; no record is dropped.
    """

    name: ClassVar[str] = "length_bias"
    part: ClassVar[Part] = "unbiased"
    kinds: ClassVar[tuple[type, ...]] = (Preference, Label)
    actions: ClassVar[tuple[Action, ...]] = ("off", "report")
    when_named: ClassVar[Action] = "report"
    turn: ClassVar[int] = 90

    @property
    def width(self) -> int:
        """Three numbers."""
        return 3

    def features(self, record: Any, row: Row) -> Sequence[int]:
        """The lengths of both sides, or a length and the label; a digest of the prompt."""
        sizes = [len(text) for _, text in named_texts(record)]
        second = int(record.good) if isinstance(record, Label) else sizes[1]
        if isinstance(record, Preference) and record.probability < 0.5:
            sizes[0], second = second, sizes[0]
        return sizes[0], second, digest(prompt_text(record.prompt) + media_key(record.prompt))

    def decide(self, candidates: Candidates) -> Decision:
        """Fit and measure."""
        rows = np.flatnonzero(candidates.remaining)[:MOST]
        lengths = candidates.features[rows, :2].astype(np.float64)
        groups = candidates.features[rows, 2]
        if candidates.kind is Label:
            inputs, labels = _features(lengths[:, 0]), lengths[:, 1] == 1
        else:
            swapped = np.random.default_rng(0).random(len(rows)) < 0.5
            chosen, rejected = (_features(lengths[:, side]) for side in (0, 1))
            inputs = np.where(swapped[:, None], rejected - chosen, chosen - rejected)
            labels = ~swapped
        fitted = (groups >> np.uint64(7)) & np.uint64(1) == 0
        if min(fitted.sum(), (~fitted).sum()) < FEWEST // 2 or any(
            labels[part].all() or not labels[part].any() for part in (fitted, ~fitted)
        ):
            return Decision(figures={"auc": None})
        scores = _fit(inputs[fitted], labels[fitted], inputs[~fitted])
        held_out = labels[~fitted]

        def statistic(indices: NDArray[np.int64], _: Any) -> float:
            return auc(scores[indices], held_out[indices])

        estimate = bootstrap(statistic, len(held_out), seed=0)
        low = estimate.low if estimate.low is not None else 0.5
        figures = {"auc": estimate.value, "low": estimate.low, "high": estimate.high, "records": len(held_out)}
        return Decision(figures=figures, bias=max(0.0, 2 * low - 1))


def _features(lengths: Floats) -> Floats:
    """The length and its logarithm, `[N, 2]`."""
    return np.stack([lengths, np.log1p(lengths)], axis=1)


def _fit(inputs: Floats, labels: NDArray[np.bool_], others: Floats) -> Floats:
    """Scores of other records by a logistic fit, `[M]`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression())
    scores: Floats = model.fit(inputs, labels).decision_function(others)
    return scores


def auc(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """Return the share of pairs of a positive and a negative record that scores order rightly, ties counted half.

    Args:
        scores: `[N]`.
        labels: `[N]`.
    """
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse][labels].sum() - positive * (positive + 1) / 2) / (positive * negative))
