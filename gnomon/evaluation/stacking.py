"""Logistic regression without an intercept, for weights of several scorers from held-out pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.core.errors import DataError
from gnomon.core.lazy import special

STEPS = 100
TOLERANCE = 1e-10


def stacking_weights(margins: ArrayLike, observed: ArrayLike, ridge: float = 1e-2) -> NDArray[np.float64]:
    """Fit `P(first preferred) = σ(Σ_e w_e·Δ_e)` by Newton's method, `[E]` (stacking, Wolpert 1992).

    There is no intercept: exchanging the completions of a pair exchanges the outcome. The ridge keeps the weights
    of members that agree with each other finite; it is relative to one pair, so that it fades with more of them.

    Args:
        margins: each member's score of the first minus that of the second completion, `[E, M]`.
        observed: share of people who prefer the first, `[M]`.
        ridge: λ of the penalty `λ·|w|²/2` on the sum of the cross-entropies.

    Raises:
        DataError: no pairs, shapes that differ, or a value that is not finite.
    """
    features, target = np.asarray(margins, dtype=np.float64).T, np.asarray(observed, dtype=np.float64)
    if features.ndim != 2 or features.shape[:1] != target.shape or not len(target):
        raise DataError(
            f"stacking needs margins [members, pairs] and outcomes, not {features.T.shape} and {target.shape}."
        )
    if not (np.isfinite(features).all() and np.isfinite(target).all()):
        raise DataError("a margin or an outcome of stacking is not a finite number; leave such pairs out.")
    weights = np.zeros(features.shape[1])
    for _ in range(STEPS):
        predicted = special.expit(features @ weights)
        gradient = features.T @ (predicted - target) + ridge * weights
        curvature = (features.T * (predicted * (1 - predicted))) @ features + ridge * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        while _loss(features, target, weights - step, ridge) > _loss(features, target, weights, ridge) + 1e-12:
            step /= 2
        weights = weights - step
        if np.abs(step).max() < TOLERANCE:
            break
    return weights


def _loss(
    features: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64], ridge: float
) -> float:
    """Sum of the cross-entropies with the penalty."""
    logits = features @ weights
    return float((np.logaddexp(0, logits) - target * logits).sum() + ridge * weights @ weights / 2)
