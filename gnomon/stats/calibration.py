"""Calibration of preference probabilities: p = σ(Δ/T), or a monotone map of Δ, fitted on held-out pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.core.errors import DataError
from gnomon.core.lazy import special

FloatArray = NDArray[np.float64]
CalibrationMethod = Literal["temperature", "isotonic"]
FEWEST_PAIRS = 10  # below, a temperature is mostly noise
BOUNDS = (1e-3, 1e3)  # of T


@dataclass(frozen=True)
class Calibration:
    """A map from the difference of two scores to the probability that people prefer the first.

    Attributes:
        method: `temperature` or `isotonic`.
        pairs: number of pairs that it was fitted on.
        temperature: T of p = σ(Δ/T).
        margins: of `isotonic`: differences at the ends of its steps, increasing, `[K]`.
        probabilities: of `isotonic`: the probability at each of them, not decreasing, `[K]`.
    """

    method: CalibrationMethod
    pairs: int
    temperature: float = 1.0
    margins: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def probability(self, margin: ArrayLike) -> FloatArray:
        """Compute the probability that the first is preferred from the difference of scores, `[M] -> [M]`.

        Both methods are symmetric: with the completions exchanged it is 1 minus that. `isotonic` interpolates
        between its steps and is constant beyond its last one.
        """
        values = np.asarray(margin, dtype=np.float64)
        if self.method == "temperature":
            return np.asarray(special.expit(values / self.temperature), dtype=np.float64)
        result = np.interp(values, self.margins, self.probabilities)
        return np.asarray(np.where(np.isnan(values), np.nan, result), dtype=np.float64)


def calibration_of(content: Any) -> Calibration:
    """Read a calibration from the JSON object that `dataclasses.asdict` made of it.

    Raises:
        DataError: it is none.
    """
    try:
        method, pairs = content["method"], int(content["pairs"])
        steps = (tuple(map(float, content[key])) for key in ("margins", "probabilities"))
        calibration = Calibration(method, pairs, float(content["temperature"]), *steps)
    except (KeyError, TypeError, ValueError):
        calibration = None
    usable = calibration is not None and (
        calibration.temperature > 0
        if calibration.method == "temperature"
        else calibration.method == "isotonic" and len(calibration.margins) == len(calibration.probabilities) > 0
    )
    if calibration is None or not usable:
        raise DataError("the score_calibration of a config.json is none that Gnomon wrote; remove that key.")
    return calibration


def fit_calibration(method: CalibrationMethod, margin: ArrayLike, observed: ArrayLike) -> Calibration:
    """Fit a calibration by maximum likelihood (temperature), or least squares (isotonic), on held-out pairs.

    Temperature scaling is that of Guo et al. (2017, eq. 9) with two classes. The isotonic fit (Zadrozny and Elkan
    2002) has each pair in both orders, so that the map is symmetric.

    Args:
        method: the method.
        margin: Δ, difference of the scores of each pair, `[M]`.
        observed: share of people who prefer the first, `[M]`, in [0, 1]. Which text is the first must not depend
            on it.

    Raises:
        DataError: too few pairs, all with the same outcome, or a value that is no number.
    """
    deltas, target = np.asarray(margin, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if deltas.ndim != 1 or deltas.shape != target.shape:
        raise DataError(f"margins {deltas.shape} and outcomes {target.shape} must be paired.")
    if len(deltas) < FEWEST_PAIRS:
        raise DataError(
            f"calibration has {len(deltas)} held-out pairs, fewer than {FEWEST_PAIRS}; hold out more, or leave "
            "calibration out."
        )
    if not np.isfinite(deltas).all() or not ((target >= 0) & (target <= 1)).all():
        raise DataError("a margin is not finite, or an outcome lies outside 0 to 1; leave such pairs out.")
    if (target == target[0]).all():
        raise DataError(
            f"all {len(deltas)} held-out pairs have the same outcome, {target[0]:g}, so a probability cannot be "
            "fitted; give pairs in which either text may win, or leave calibration out."
        )
    against = np.where(deltas > 0, 1 - target, target)  # share of raters against the scores' order
    perfect = float((np.abs(deltas) * against).sum()) == 0  # the best T would be 0
    useless = float((deltas * (target - 0.5)).sum()) <= 0  # it would be infinite or negative
    if perfect or useless:
        order = "exactly as all people do" if perfect and not useless else "no better than chance"
        raise DataError(
            f"the scores order the {len(deltas)} held-out pairs {order}, so no temperature is the best one; hold "
            "out more pairs, or leave calibration out."
        )
    if method == "temperature":
        return Calibration("temperature", len(deltas), temperature=_temperature(deltas, target))
    return _isotonic(deltas, target)


def _temperature(margin: FloatArray, target: FloatArray) -> float:
    """T of the least cross-entropy, by bisection of its derivative in 1/T, which increases."""
    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]

    def slope(inverse: float) -> float:
        return float(((special.expit(inverse * margin) - target) * margin).sum())

    for _ in range(200):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def _isotonic(margin: FloatArray, target: FloatArray) -> Calibration:
    """The symmetric isotonic fit; each step is held by its first and last margin."""
    from sklearn.isotonic import IsotonicRegression

    both = np.concatenate([margin, -margin])
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(both, np.concatenate([target, 1 - target]))
    steps, values = fitted.X_thresholds_, fitted.y_thresholds_
    return Calibration("isotonic", len(margin), 1.0, tuple(map(float, steps)), tuple(map(float, values)))
