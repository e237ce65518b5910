"""Strengths of a prompt's completions from pairs and rankings, by Bradley–Terry and Plackett–Luce.

A ranking is a series of choices: the best of all, then the best of the rest. Each is made with a probability
proportional to exp(strength) (R.L. Plackett 1975; R.D. Luce 1959), so of two a beats b with the probability
σ(a - b), which is the model of R.A. Bradley and M.E. Terry (1952): pairs are rankings of two.
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

PRIOR = 1.0
CLOSE = 1e-10
MOST_STEPS = 200


@dataclass(frozen=True, slots=True)
class Strengths:
    """Log-strengths, in nats, known up to a constant within each group.

    Attributes:
        names: [N], in order.
        values: [N]; the mean of each group is 0.
        covariance: [N, N], by the curvature at the maximum; only differences within a group have a meaning.
        groups: names that are compared with one another, directly or through others. Values of two groups cannot
            be compared.
    """

    names: tuple[str, ...]
    values: FloatArray
    covariance: FloatArray
    groups: tuple[tuple[str, ...], ...]

    def difference(self, one: str, other: str) -> Estimate:
        """One's log-strength less the other's, with its 95% interval; None for names of two groups."""
        if not any(one in group and other in group for group in self.groups):
            return Estimate(None, None, None)
        a, b = self.names.index(one), self.names.index(other)
        value = float(self.values[a] - self.values[b])
        variance = float(self.covariance[a, a] + self.covariance[b, b] - 2 * self.covariance[a, b])
        half = NORMAL_975 * math.sqrt(max(0.0, variance))
        return Estimate(value, value - half, value + half)

    def probability(self, one: str, other: str) -> float | None:
        """Probability that one beats the other; None for names of two groups."""
        value = self.difference(one, other).value
        return None if value is None else float(special.expit(value))


def strengths(
    judgements: Iterable[Mapping[str, float]],
    weights: Iterable[float] | None = None,
    prior: float | None = PRIOR,
) -> Strengths:
    """Fit the strengths of one prompt's completions, or of anything else that is compared.

    A tie of two is half a win for each. Of equal ones in a longer ranking each is chosen from all that are not
    better (N.E. Breslow 1974); the last of a ranking, if they are k equals, count (k - 1)/k each.

    Args:
        judgements: from each judgement a number for each completion, by id, higher for better. Only the order
            within a judgement counts. Leave out those that call both bad: they would count as ties.
        weights: how much each judgement counts, as the annotator's reliability; 1 each without them.
        prior: standard deviation, in nats, of the normal prior of strengths around 0. It keeps strengths finite
            where one side always won: with 1, three wins of three are a probability of 0.78. None takes the
            maximum of the likelihood.

    Raises:
        ConfigError: the prior is not above 0.
        DataError: nothing is compared, a number is not finite, a weight is below 0, there are not as many
            weights as judgements, or without a prior the likelihood has no maximum.
    """
    if prior is not None and not 0 < prior < math.inf:
        raise ConfigError(f"the prior of strengths is {prior}; give a standard deviation above 0, or none.")
    tiers = _tiers(list(judgements), None if weights is None else list(weights))
    names = sorted({name for ranking in tiers for tier in ranking for name in tier})
    if not names:
        raise DataError("nothing is compared, so nothing has a strength; collect judgements first.")
    won, among, counts = _choices(tiers, names)
    beaten = np.zeros((len(names), len(names)))
    np.add.at(beaten, won, among * 1.0)
    _, group = sparse.csgraph.connected_components(beaten, directed=True, connection="weak")
    same = (group[:, None] == group[None, :]).astype(np.float64)  # [N, N]
    if prior is None:
        parts, part = sparse.csgraph.connected_components(beaten, directed=True, connection="strong")
        if parts > group.max() + 1:
            stuck = next(names[n] for n in range(len(names)) if same[n].sum() > (part == part[n]).sum())
            raise DataError(
                f"{stuck!r} and those linked with it only ever win against, or lose to, some of the others, so "
                f"strengths have no end; give a prior."
            )
    # Without a prior the sum of a group is free; this holds it at 0 and moves nothing else.
    tie = same if prior is None else np.eye(len(names)) / prior**2
    values, covariance = _fit(won, among, counts, tie)
    values -= (same @ values) / same.sum(axis=1)
    members: list[list[str]] = [[] for _ in range(group.max() + 1)]
    for name, number in zip(names, group, strict=True):
        members[number].append(name)
    return Strengths(tuple(names), values, covariance, tuple(map(tuple, members)))


def _tiers(judgements: Sequence[Mapping[str, float]], weights: Sequence[float] | None) -> dict[Tiers, float]:
    """Each different judgement as tiers, with the sum of its weights."""
    if weights is not None and len(weights) != len(judgements):
        raise DataError(f"{len(judgements)} judgements need as many weights, not {len(weights)}.")
    weights_of: dict[Tiers, list[float]] = defaultdict(list)
    for worth, weight in zip(judgements, weights or [1.0] * len(judgements), strict=True):
        if not (math.isfinite(weight) and weight >= 0):
            raise DataError(f"a judgement has the weight {weight}; give a number from 0.")
        if not all(math.isfinite(value) for value in worth.values()):
            raise DataError(f"a judgement on {', '.join(worth)} holds a number that is not finite; remove it.")
        ordered = sorted(worth, key=lambda name: (-worth[name], name))
        tiers = tuple(tuple(names) for _, names in groupby(ordered, key=lambda name: worth[name]))
        weights_of[tiers].append(weight)
    return {tiers: math.fsum(weights_of[tiers]) for tiers in sorted(weights_of)}


def _choices(
    tiers: Mapping[Tiers, float], names: Sequence[str]
) -> tuple[IntArray, NDArray[np.bool_], FloatArray]:
    """The choices that rankings consist of: the winner, [C]; the candidates, [C, N]; the weight, [C]."""
    index = {name: number for number, name in enumerate(names)}
    won, among, counts = list[int](), list[NDArray[np.bool_]](), list[float]()
    for ranking, weight in tiers.items():
        left = np.zeros(len(names), dtype=bool)
        left[[index[name] for tier in ranking for name in tier]] = True
        for number, tier in enumerate(ranking):
            last = number == len(ranking) - 1
            share = (len(tier) - 1) / len(tier) if last else 1.0
            if weight * share > 0:
                won += [index[name] for name in tier]
                among += [left.copy()] * len(tier)
                counts += [weight * share] * len(tier)
            left[[index[name] for name in tier]] = False
    return (
        np.array(won, dtype=np.int64),
        np.array(among, dtype=bool).reshape(len(won), len(names)),
        np.array(counts, dtype=np.float64),
    )


def _fit(
    won: IntArray, among: NDArray[np.bool_], counts: FloatArray, tie: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Maximize the choices' log-likelihood less half of `strengths @ tie @ strengths`: strengths [N], covariance.

    The negative is strictly convex, so Newton's steps, halved where one is too long, end at its only minimum.
    """
    wins = np.bincount(won, counts, minlength=len(tie))  # [N]
    allowed = np.where(among, 0.0, -np.inf)  # [C, N]

    def loss(values: FloatArray) -> float:
        likely = wins @ values - counts @ np.logaddexp.reduce(allowed + values, axis=1)
        return float(values @ tie @ values / 2 - likely)

    def slope_and_curvature(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        scores = allowed + values
        chances = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))  # [C, N]
        weighted = chances * counts[:, None]
        expected = weighted.sum(axis=0)
        return expected - wins + tie @ values, np.diag(expected) - chances.T @ weighted + tie

    values = np.zeros(len(tie))
    for _ in range(MOST_STEPS):
        slope, curvature = slope_and_curvature(values)
        step = np.linalg.solve(curvature, slope)
        fall, part = float(slope @ step), 1.0  # fall: twice what is left to gain, in nats
        if fall < CLOSE * max(1.0, float(counts.sum())):
            values = values - step  # so near, a step squares the error
            break
        here = loss(values)
        while loss(values - part * step) > here - part * fall / 4:
            part /= 2
        values = values - part * step
    return values, np.asarray(np.linalg.inv(slope_and_curvature(values)[1]), dtype=np.float64)


def choice_probabilities(margin: float, ties: float = 0.0) -> dict[Literal["first", "second", "tie"], float]:
    """Davidson's model: the probability of each choice for a pair whose first is better by `margin` logits."""
    most = max(margin, -margin) / 2  # subtracted in the exponents, so that none of them is too large
    weights = math.exp(margin / 2 - most), math.exp(-margin / 2 - most), ties * math.exp(-most)
    total = sum(weights)
    return {"first": weights[0] / total, "second": weights[1] / total, "tie": weights[2] / total}
