"""What judgements of a prompt's completions say of each two of them: probability, margin and weight."""

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
    said: Sequence[Mapping[str, float]],
    weights: Sequence[float] | None = None,
    prior: float | None = PRIOR,
) -> list[Preference]:
    """Every pair that somebody compared, by the strengths that all judgements of the prompt together give.

    Judgements of other pairs bear on a pair too: who beats the one that beats a third probably beats the third.

    Args:
        prompt: what all answer.
        completions: those that judgements speak of.
        said: how good each judgement calls each of its completions, by id; two or more in each.
        weights: how much each judgement counts; 1 each without them.
        prior: of `strengths`.

    Returns:
        A pair's probability is σ of its margin, which is the difference of log-strengths. A judgement of K adds
        2/K of its weight to each of its pairs, K - 1 in all: as much as it says.

    Raises:
        DataError: as for `strengths`; or a judgement speaks of a completion that is not given.
    """
    by_id = {one.id: one for one in completions}
    heard = _weighed(said, weights)
    if unknown := next((name for worth, _ in heard for name in worth if name not in by_id), None):
        raise DataError(f"a judgement speaks of an unknown completion {unknown!r}; import it first.")
    shared: dict[tuple[str, str], list[float]] = {}
    for worth, weight in heard:
        for pair in combinations(sorted(worth), 2):
            shared.setdefault(pair, []).append(2 * weight / len(worth))
    found = strengths(said, weights, prior)
    made = []
    for (one, other), parts in sorted(shared.items()):
        probability, margin = found.probability(one, other), found.difference(one, other).value
        if probability is None or margin is None or not (total := math.fsum(parts)):
            continue
        better, worse = (one, other) if margin >= 0 else (other, one)
        made.append(
            Preference(prompt, by_id[better], by_id[worse], max(probability, 1 - probability), abs(margin), total)
        )
    return made


def _weighed(
    said: Sequence[Mapping[str, float]], weights: Sequence[float] | None
) -> list[tuple[Mapping[str, float], float]]:
    given = [1.0] * len(said) if weights is None else list(weights)
    if len(given) != len(said) or not all(math.isfinite(weight) and weight >= 0 for weight in given):
        raise DataError(f"{len(said)} judgements need as many weights from 0; give each one.")
    return list(zip(said, given, strict=True))
