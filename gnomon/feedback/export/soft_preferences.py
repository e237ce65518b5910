"""Preferences between the completions of a prompt, from Bradley–Terry strengths of all its judgements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Preference, Prompt
from gnomon.stats.bradley_terry import PRIOR, strengths


def preferences_by_strength(
    prompt: Prompt,
    completions: Iterable[Completion],
    values: Sequence[Mapping[str, float]],
    weights: Sequence[float] | None = None,
    prior: float | None = PRIOR,
) -> list[Preference]:
    """Make a preference of each judged pair, from strengths that are fitted to all judgements of the prompt.

    Judgements of other pairs count too: if A beats B and B beats C, then A probably beats C.

    Args:
        prompt: prompt of the completions.
        completions: the judged completions.
        values: per judgement, the value of each of its completions by id; two or more completions each.
        weights: weight of each judgement; `None`: 1 each.
        prior: prior of `strengths`.

    Returns:
        Preferences whose margin is the difference of log-strengths and whose probability is σ(margin). A
        judgement of K completions adds 2/K of its weight to each of its pairs, K - 1 in all.

    Raises:
        DataError: as for `strengths`; or a judgement refers to an unknown completion.
    """
    by_id = {one.id: one for one in completions}
    weighted = _weighted(values, weights)
    if unknown := next((name for worth, _ in weighted for name in worth if name not in by_id), None):
        raise DataError(f"a judgement refers to an unknown completion {unknown!r}; import it first.")
    shared: dict[tuple[str, str], list[float]] = {}
    for worth, weight in weighted:
        for pair in combinations(sorted(worth), 2):
            shared.setdefault(pair, []).append(2 * weight / len(worth))
    fit = strengths(values, weights, prior)
    preferences = []
    for (one, other), parts in sorted(shared.items()):
        probability, margin = fit.probability(one, other), fit.difference(one, other).value
        if probability is None or margin is None or not (total := math.fsum(parts)):
            continue
        better, worse = (one, other) if margin >= 0 else (other, one)
        preferences.append(
            Preference(prompt, by_id[better], by_id[worse], max(probability, 1 - probability), abs(margin), total)
        )
    return preferences


def _weighted(
    values: Sequence[Mapping[str, float]], weights: Sequence[float] | None
) -> list[tuple[Mapping[str, float], float]]:
    weights = [1.0] * len(values) if weights is None else list(weights)
    if len(weights) != len(values) or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise DataError(f"{len(values)} judgements need {len(values)} weights of 0 or more; give one for each.")
    return list(zip(values, weights, strict=True))
