"""Strengths of a prompt's completions from pairs and rankings, by Bradley–Terry and Plackett–Luce.

A ranking is a series of choices: the best of all, then the best of the rest. Each choice takes a candidate with a
probability proportional to exp(strength) (R.L. Plackett 1975; R.D. Luce 1959). Of two candidates a beats b with
the probability σ(a - b), which is the model of R.A. Bradley and M.E. Terry (1952): pairs are rankings of two.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.lazy import sparse, special
from gnomon.stats.intervals import NORMAL_975, Estimate

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Tiers = tuple[tuple[str, ...], ...]  # best first; names in one tier are equal

PRIOR = 1.0  # standard deviation of log-strengths, in nats
TOLERANCE = 1e-10  # Newton's decrement at which the fit stops, relative to the sum of the weights
MAX_STEPS = 200  # of Newton's method


@dataclass(frozen=True, slots=True)
class Strengths:
    """Log-strengths, in nats, known up to a constant within each group.

    Attributes:
        names: [N], sorted.
        values: [N]; log-strengths, with mean 0 in each group.
        covariance: [N, N]; inverse curvature at the maximum. Only differences within a group have a meaning.
        groups: names that are linked by comparisons, directly or through others. Values of different groups
            cannot be compared.
    """

    names: tuple[str, ...]
    values: FloatArray
    covariance: FloatArray
    groups: tuple[tuple[str, ...], ...]

    def difference(self, one: str, other: str) -> Estimate:
        """Return the log-strength of `one` minus that of `other`, with its 95% interval.

        All values are None if the names are in different groups.
        """
        if not any(one in group and other in group for group in self.groups):
            return Estimate(None, None, None)
        a, b = self.names.index(one), self.names.index(other)
        value = float(self.values[a] - self.values[b])
        variance = float(self.covariance[a, a] + self.covariance[b, b] - 2 * self.covariance[a, b])
        half = NORMAL_975 * math.sqrt(max(0.0, variance))
        return Estimate(value, value - half, value + half)

    def probability(self, one: str, other: str) -> float | None:
        """Return the probability that `one` beats `other`; None if they are in different groups."""
        value = self.difference(one, other).value
        return None if value is None else float(special.expit(value))


def strengths(
    judgements: Iterable[Mapping[str, float]],
    weights: Iterable[float] | None = None,
    prior: float | None = PRIOR,
) -> Strengths:
    """Fit the strengths of one prompt's completions, or of anything else that is compared.

    A tie of two is half a win for each. In a longer ranking, each of several equal candidates is chosen from all
    that are not better (N.E. Breslow 1974); k candidates that share the last position count (k - 1)/k each.

    Args:
        judgements: a number for each completion, by id, per judgement; higher is better. Only the order within a
            judgement counts. Leave out judgements that call both completions bad: they would count as ties.
        weights: weight of each judgement, such as the annotator's reliability; by default 1.
        prior: standard deviation, in nats, of the normal prior of strengths around 0. It keeps strengths finite
            where one side always wins: with a prior of 1, three wins of three give a probability of 0.78. None
            maximizes the likelihood without a prior.

    Raises:
        ConfigError: the prior is not above 0.
        DataError: there are no judgements, a number is not finite, a weight is below 0, the numbers of weights
            and judgements differ, or without a prior the likelihood has no maximum.
    """
    if prior is not None and not 0 < prior < math.inf:
        raise ConfigError(f"the prior of strengths is {prior}; pass a standard deviation above 0, or None.")
    tiers = _tiers(list(judgements), None if weights is None else list(weights))
    names = sorted({name for ranking in tiers for tier in ranking for name in tier})
    if not names:
        raise DataError("there are no comparisons to fit strengths to; collect judgements first.")
    winners, candidates, counts = _choices(tiers, names)
    beaten = np.zeros((len(names), len(names)))
    np.add.at(beaten, winners, candidates * 1.0)
    _, group = sparse.csgraph.connected_components(beaten, directed=True, connection="weak")
    same = (group[:, None] == group[None, :]).astype(np.float64)  # [N, N]
    if prior is None:
        strong_count, component = sparse.csgraph.connected_components(beaten, directed=True, connection="strong")
        if strong_count > group.max() + 1:
            stuck = next(names[n] for n in range(len(names)) if same[n].sum() > (component == component[n]).sum())
            raise DataError(
                f"{stuck!r} and the names linked with it always win or always lose against some of the others, "
                f"so their strengths are unbounded; pass a prior."
            )
    # Without a prior the sum of a group is undetermined; this precision fixes it at 0 and changes nothing else.
    precision = same if prior is None else np.eye(len(names)) / prior**2
    values, covariance = _fit(winners, candidates, counts, precision)
    values -= (same @ values) / same.sum(axis=1)
    members: list[list[str]] = [[] for _ in range(group.max() + 1)]
    for name, number in zip(names, group, strict=True):
        members[number].append(name)
    return Strengths(tuple(names), values, covariance, tuple(map(tuple, members)))


def _tiers(judgements: Sequence[Mapping[str, float]], weights: Sequence[float] | None) -> dict[Tiers, float]:
    """Convert judgements to tiers, and sum the weights of equal ones."""
    if weights is not None and len(weights) != len(judgements):
        raise DataError(f"there are {len(weights)} weights for {len(judgements)} judgements; pass one for each.")
    weights_of: dict[Tiers, list[float]] = defaultdict(list)
    for worth, weight in zip(judgements, weights or [1.0] * len(judgements), strict=True):
        if not (math.isfinite(weight) and weight >= 0):
            raise DataError(f"a judgement has the weight {weight}; pass a finite number of at least 0.")
        if not all(math.isfinite(value) for value in worth.values()):
            raise DataError(f"a judgement on {', '.join(worth)} has a number that is not finite; remove it.")
        ordered = sorted(worth, key=lambda name: (-worth[name], name))
        tiers = tuple(tuple(names) for _, names in groupby(ordered, key=lambda name: worth[name]))
        weights_of[tiers].append(weight)
    return {tiers: math.fsum(weights_of[tiers]) for tiers in sorted(weights_of)}


def _choices(
    tiers: Mapping[Tiers, float], names: Sequence[str]
) -> tuple[IntArray, NDArray[np.bool_], FloatArray]:
    """Split rankings into choices: the winner, [C]; the candidates, [C, N]; the weight, [C]."""
    index = {name: number for number, name in enumerate(names)}
    winners, candidates, counts = list[int](), list[NDArray[np.bool_]](), list[float]()
    for ranking, weight in tiers.items():
        left = np.zeros(len(names), dtype=bool)
        left[[index[name] for tier in ranking for name in tier]] = True
        for number, tier in enumerate(ranking):
            last = number == len(ranking) - 1
            share = (len(tier) - 1) / len(tier) if last else 1.0
            if weight * share > 0:
                winners += [index[name] for name in tier]
                candidates += [left.copy()] * len(tier)
                counts += [weight * share] * len(tier)
            left[[index[name] for name in tier]] = False
    return (
        np.array(winners, dtype=np.int64),
        np.array(candidates, dtype=bool).reshape(len(winners), len(names)),
        np.array(counts, dtype=np.float64),
    )


def _fit(
    winners: IntArray, candidates: NDArray[np.bool_], counts: FloatArray, precision: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Maximize the log-likelihood of the choices minus `strengths @ precision @ strengths / 2`.

    The negative objective is strictly convex, so Newton's method with step halving reaches its only minimum.

    Returns:
        Strengths, [N], and their covariance, [N, N].
    """
    wins = np.bincount(winners, counts, minlength=len(precision))  # [N]
    allowed = np.where(candidates, 0.0, -np.inf)  # [C, N]

    def loss(values: FloatArray) -> float:
        log_likelihood = wins @ values - counts @ np.logaddexp.reduce(allowed + values, axis=1)
        return float(values @ precision @ values / 2 - log_likelihood)

    def slope_and_curvature(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        scores = allowed + values
        chances = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))  # [C, N]
        weighted = chances * counts[:, None]
        expected = weighted.sum(axis=0)
        return expected - wins + precision @ values, np.diag(expected) - chances.T @ weighted + precision

    values = np.zeros(len(precision))
    for _ in range(MAX_STEPS):
        slope, curvature = slope_and_curvature(values)
        step = np.linalg.solve(curvature, slope)
        decrement, length = float(slope @ step), 1.0  # decrement: twice the remaining gain, in nats
        if decrement < TOLERANCE * max(1.0, float(counts.sum())):
            values = values - step  # so close to the minimum, a full step squares the error
            break
        current = loss(values)
        while loss(values - length * step) > current - length * decrement / 4:
            length /= 2
        values = values - length * step
    return values, np.asarray(np.linalg.inv(slope_and_curvature(values)[1]), dtype=np.float64)


def choice_probabilities(margin: float, ties: float = 0.0) -> dict[Literal["first", "second", "tie"], float]:
    """Compute the probability of each choice for a pair by Davidson's model.

    Args:
        margin: utility of the first minus that of the second, in logits.
        ties: Davidson's tie parameter ν; 0 excludes ties.
    """
    largest = max(margin, -margin) / 2  # subtracted from the exponents against overflow
    weights = math.exp(margin / 2 - largest), math.exp(-margin / 2 - largest), ties * math.exp(-largest)
    total = sum(weights)
    return {"first": weights[0] / total, "second": weights[1] / total, "tie": weights[2] / total}
