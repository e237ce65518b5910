"""Agreement of annotators: shares of equal labels, and chance-corrected coefficients.

All functions but `cohen_kappa` take units: for each item its labels, in any order and of any number, without the
annotators' names. Labels are equal or not; where distances between them count, they are numbers. Items with fewer
than two labels have nothing to compare.

Undefined figures are None, never 0: without comparable items, and chance-corrected ones where only one label was
ever given, so that chance alone agrees everywhere. Intervals are 95%; they are None where nothing varies from
item to item, since nothing then measures the error of the figure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import krippendorff
import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.lazy import special
from gnomon.stats.intervals import NORMAL_975, Estimate, bootstrap, wilson_interval
from gnomon.stats.votes import sorted_distinct

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Level = Literal["nominal", "ordinal", "interval", "ratio"]
Units = Sequence[Sequence[Hashable]]

UNDEFINED = Estimate(None, None, None)
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa of two annotators.

    Attributes:
        estimate: kappa with its interval by `error`, within [-1, 1].
        error: asymptotic standard error of kappa.
        null_error: standard error if kappa were 0; the test statistic is z = kappa / null_error.
        items: number of items that both annotators labeled.
    """

    estimate: Estimate
    error: float | None
    null_error: float | None
    items: int


def percent_agreement(units: Units) -> Estimate:
    """Compute the mean over items of the share of equal pairs among an item's labels.

    The interval is Wilson's, as if each item agreed wholly or not at all. It holds where items have two labels,
    and is too wide where they have more.
    """
    shares = _equal_shares(_counts(units)[0])
    if not shares.size:
        return UNDEFINED
    agreeing = min(math.fsum(shares), float(shares.size))
    interval = wilson_interval(agreeing, shares.size)
    assert interval is not None
    return Estimate(agreeing / shares.size, *interval)


def fleiss_kappa(units: Units) -> Estimate:
    """Compute Fleiss' kappa, which treats annotators as interchangeable.

    Where all items have as many labels it is that of J.L. Fleiss ("Measuring nominal scale agreement among many
    raters", 1971); otherwise its generalization by K.L. Gwet ("Handbook of Inter-Rater Reliability", 2014,
    chapter 2), in which each item weighs the same in the shares of labels, also one with a single label. The
    interval is Gwet's, from the spread of the items' parts, with Student's t.
    """
    counts, _ = _counts(units)
    if not len(counts):
        return UNDEFINED
    shares = counts / counts.sum(axis=1, keepdims=True)  # [N, L]
    overall = shares.mean(axis=0)
    return _corrected(counts, float(overall @ overall), shares @ overall)


def gwet_ac1(units: Units, labels: Collection[Hashable] | None = None) -> Estimate:
    """Compute Gwet's AC1, which unlike kappa does not fall to 0 where nearly all labels are the same.

    K.L. Gwet, "Computing inter-rater reliability and its variance in the presence of high agreement" (2008). The
    interval is as for `fleiss_kappa`.

    Args:
        units: the labels of each item.
        labels: all possible labels; by default, the labels that occur. The more labels there are, the less
            agreement is due to chance, so pass the whole scale where only a part of it was used.
    """
    counts, used = _counts(units)
    possible = len(set(labels or ()) | set(used))
    if not len(counts) or possible < 2:
        return UNDEFINED
    shares = counts / counts.sum(axis=1, keepdims=True)  # [N, L]
    rest = (1 - shares.mean(axis=0)) / (possible - 1)  # [L]
    return _corrected(counts, float(shares.mean(axis=0) @ rest), shares @ rest)


def krippendorff_alpha(units: Units, level: Level, seed: int = 0) -> Estimate:
    """Compute Krippendorff's alpha: 1 is perfect agreement, 0 agreement by chance.

    Alpha compares every label with every other one of the same item, by any annotator (K. Krippendorff,
    "Computing Krippendorff's Alpha-Reliability", 2011). Missing labels are not in the lists. The interval is a
    bootstrap over items.

    Args:
        units: the labels of each item; finite numbers unless the level is nominal.
        level: distance of two labels: 0 or 1 (nominal), by rank (ordinal), squared difference (interval), or
            squared ratio of difference to sum (ratio).
        seed: seed of the bootstrap.

    Raises:
        DataError: a label is not a finite number, or below 0 on a ratio scale.
    """
    comparable = [unit for unit in units if len(unit) >= 2]
    if level != "nominal":
        comparable = [[_number(label) for label in unit] for unit in comparable]
    counts, labels = _counts(comparable)
    if not labels:
        return UNDEFINED
    domain = np.arange(len(labels)) if level == "nominal" else np.array(labels, dtype=np.float64)
    if level == "ratio" and domain[0] < 0:
        raise DataError(f"a label is {labels[0]}, but a ratio scale begins at 0; use the level 'interval'.")

    def alpha(rows: IntArray, _: np.random.Generator) -> float:
        used = counts[rows]
        # A label that does not occur in the resample must leave the domain. With a single label the expected
        # disagreement is 0, and alpha is undefined.
        present = used.any(axis=0)
        if present.sum() < 2:
            return float("nan")
        return float(
            krippendorff.alpha(
                value_counts=used[:, present], value_domain=domain[present], level_of_measurement=level
            )
        )

    estimate = bootstrap(alpha, len(comparable), seed)
    return Estimate(estimate.value, None, None) if estimate.low == estimate.high else estimate


def cohen_kappa(
    pairs: Iterable[tuple[Hashable, Hashable]], weights: Literal["linear", "quadratic"] | None = None
) -> Kappa:
    """Compute Cohen's kappa of two annotators.

    Standard errors are those of J.L. Fleiss, J. Cohen and B.S. Everitt (1969).

    Args:
        pairs: for each item that both labeled, the first's and the second's label.
        weights: agreement of two labels at a distance d, where D is the largest distance: 1 or 0 (without
            weights), 1 - d/D (linear), or 1 - (d/D)^2 (quadratic). With weights the labels must be numbers.

    Raises:
        DataError: with weights, a label is not a finite number.
    """
    label_pairs = list(pairs)
    if weights is not None:
        label_pairs = [(_number(one), _number(other)) for one, other in label_pairs]
    labels = sorted_distinct(label for pair in label_pairs for label in pair)
    if len(labels) < 2:
        return Kappa(UNDEFINED, None, None, len(label_pairs))
    index = {label: number for number, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)))  # [L, L]; rows: the first annotator
    for one, other in label_pairs:
        table[index[one], index[other]] += 1 / len(label_pairs)
    agreement = _agreement_weights(labels, weights)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    expected = float(rows @ agreement @ columns)
    # There are two labels or more, so 1 - expected is above 0.
    kappa = (float((agreement * table).sum()) - expected) / (1 - expected)
    # Equations 13 and 14 of the paper: the mean weights of each row and of each column, added.
    margins = (agreement @ columns)[:, None] + (agreement.T @ rows)[None, :]
    scale = len(label_pairs) * (1 - expected) ** 2
    spread = (table * (agreement - margins * (1 - kappa)) ** 2).sum() - (kappa - expected * (1 - kappa)) ** 2
    null = (np.outer(rows, columns) * (agreement - margins) ** 2).sum() - expected**2
    error, null_error = (math.sqrt(max(0.0, float(one)) / scale) for one in (spread, null))
    return Kappa(_with_error(kappa, error, NORMAL_975), error, null_error, len(label_pairs))


def _counts(units: Units) -> tuple[IntArray, list[Hashable]]:
    """Return label counts of the items that have labels, [N, L], and the distinct labels, [L]."""
    labeled = [unit for unit in units if len(unit)]
    labels = sorted_distinct(label for unit in labeled for label in unit)
    index = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labeled), len(labels)), dtype=np.int64)
    row = np.repeat(np.arange(len(labeled)), [len(unit) for unit in labeled])
    column = np.array([index[label] for unit in labeled for label in unit], dtype=np.int64)
    np.add.at(counts, (row, column), 1)
    return counts, labels


def _equal_shares(counts: IntArray) -> FloatArray:
    """Return the share of equal pairs of labels for each item with two labels or more."""
    totals = counts.sum(axis=1)
    equal = (counts * (counts - 1)).sum(axis=1)[totals >= 2]
    return np.asarray(equal / (totals * (totals - 1))[totals >= 2], dtype=np.float64)


def _corrected(counts: IntArray, expected: float, expected_each: FloatArray) -> Estimate:
    """Return (observed - expected) / (1 - expected) with Gwet's standard error (2014, equation 5.18).

    Args:
        counts: label counts per item, [N, L].
        expected: agreement expected by chance.
        expected_each: contribution of each item to `expected`, [N]; its mean is `expected`.
    """
    compared = counts.sum(axis=1) >= 2  # [N]
    n = len(counts)
    if not compared.any() or expected > 1 - ROUNDING:
        return UNDEFINED
    equal = _equal_shares(counts)
    value = (float(equal.mean()) - expected) / (1 - expected)
    if n < 2:
        return Estimate(value, None, None)
    item_values = np.zeros(n)  # [N]
    item_values[compared] = (n / compared.sum()) * (equal - expected) / (1 - expected)
    item_values -= 2 * (1 - value) * (expected_each - expected) / (1 - expected)
    error = math.sqrt(float(((item_values - value) ** 2).sum()) / (n * (n - 1)))
    return _with_error(value, error, float(special.stdtrit(n - 1, 0.975)))


def _with_error(value: float, error: float, quantile: float) -> Estimate:
    """Return value ± quantile · error, clipped to [-1, 1]; no interval where the error is 0."""
    if error < ROUNDING:
        return Estimate(value, None, None)
    return Estimate(value, max(-1.0, value - quantile * error), min(1.0, value + quantile * error))


def _agreement_weights(labels: Sequence[Hashable], weights: str | None) -> FloatArray:
    """Return the agreement of each pair of labels, [L, L], with 1 on the diagonal."""
    if weights is None:
        return np.eye(len(labels))
    values = np.array(labels, dtype=np.float64)
    distance = np.abs(values[:, None] - values[None, :]) / (values.max() - values.min())
    return np.asarray(1 - (distance if weights == "linear" else distance**2), dtype=np.float64)


def _number(label: Hashable) -> float:
    """Convert a label to a float; raise DataError unless it is a finite number."""
    if not isinstance(label, int | float | np.number) or not math.isfinite(label):
        raise DataError(
            f"the label {label!r} is not a finite number; remove it, or compare labels as equal or not."
        )
    return float(label)
