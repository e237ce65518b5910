"""Choice of the completions of a prompt to compare: pairs, or sets to rank.

Of up to three completions all pairs are compared. Of more, a share of the pairs is first drawn uniformly from all
pairs: estimates from these alone are unbiased, however the rest is chosen. The rest covers every completion once,
with pairs of different sources preferred, and then takes pairs of which a reward model is least certain and that
were rarely compared.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.core.errors import DataError
from gnomon.core.lazy import special
from gnomon.core.storage.digests import digest
from gnomon.core.types import Completion

ALL_PAIRS_UP_TO = 3  # completions
TRIES = 16  # random draws of sets to rank, of which the most even one is used

PairReason = Literal["all", "random", "cover", "uncertain"]
IndexPair = tuple[int, int]


@dataclass(frozen=True)
class ComparisonPair:
    """Two completions to compare.

    Attributes:
        ids: ids of the two completions.
        why: `all` (all pairs are compared), `random` (drawn at random), `cover` (covers a completion) or
            `uncertain`.
        probability: probability that the random draw takes this pair, 1 if all pairs are compared; `None` for
            chosen pairs. Estimates over all pairs of the prompt weigh pairs by its inverse, and leave out those
            without.
    """

    ids: tuple[str, str]
    why: PairReason
    probability: float | None = None


def uncertainty(scores: ArrayLike) -> NDArray[np.float64]:
    """Compute the uncertainty of reward models about each pair of completions.

    For an ensemble it is the variance over its members of p = σ(r_a − r_b), which more judgements can reduce. For
    a single model it is p(1 − p), which is as large where people disagree persistently.

    Args:
        scores: [M, N] of M members, or [N] of a single model.

    Returns:
        [N, N], with 0 on the diagonal.

    Raises:
        DataError: a score is not a finite number, or the shape is wrong.
    """
    rewards = np.atleast_2d(np.asarray(scores, dtype=np.float64))  # [M, N]
    if rewards.ndim != 2 or rewards.shape[0] < 1 or not np.isfinite(rewards).all():
        raise DataError(
            f"scores must be finite and [members, completions], not {list(rewards.shape)}; correct the judges."
        )
    wins = special.expit(rewards[:, :, None] - rewards[:, None, :])  # [M, N, N]
    variance = wins.var(axis=0) if len(wins) > 1 else wins[0] * (1 - wins[0])
    np.fill_diagonal(variance, 0.0)
    return np.asarray(variance, dtype=np.float64)


def pairs(
    completions: Sequence[Completion],
    count: int,
    uncertainty: NDArray[np.float64] | None,
    item_counts: Mapping[frozenset[str], int],
    seed: int,
    random_share: float = 0.2,
) -> list[ComparisonPair]:
    """Choose pairs of a prompt's completions to compare: random ones, covering ones, then uncertain ones.

    All pairs are returned for three completions or fewer, whatever the count, or if there are no more than
    `count`; none for a single completion. Every completion is covered if the count allows it beside the random
    pairs. The result depends on the completions and the seed, not on the order of the completions; with one seed,
    different prompts draw differently.

    Args:
        completions: completions of one prompt.
        count: number of pairs, at least 1.
        uncertainty: uncertainty of each pair, [N, N], from the function `uncertainty`; `None` treats all as
            equal.
        item_counts: number of earlier comparisons of two completions, by the set of their ids.
        seed: seed of the draw and of the order among equals. Use another one each round, or the same pairs are
            drawn.
        random_share: share of the pairs, rounded up, that is drawn uniformly from all pairs.

    Raises:
        DataError: two completions share an id, or an argument is out of its range.
    """
    if count < 1 or not 0 <= random_share <= 1:
        raise DataError(
            f"count is {count} and random_share {random_share}; pass at least 1 and a share in [0, 1]."
        )
    if uncertainty is not None and uncertainty.shape != (len(completions), len(completions)):
        raise DataError(
            f"the uncertainty of {len(completions)} completions is {list(uncertainty.shape)}; pass [N, N]."
        )
    all_pairs: list[IndexPair] = list(combinations(_sorted_by_id(completions), 2))

    def pair(indices: IndexPair, why: PairReason, probability: float | None = None) -> ComparisonPair:
        return ComparisonPair((completions[indices[0]].id, completions[indices[1]].id), why, probability)

    if len(completions) <= ALL_PAIRS_UP_TO or count >= len(all_pairs):
        return [pair(indices, "all", 1.0) for indices in all_pairs]
    _rng(seed, completions).shuffle(all_pairs)  # the order among equals, since the sort below is stable
    random_count = math.ceil(round(random_share * count, 9))  # 0.7·10 is 7
    value = {
        (a, b): (1.0 if uncertainty is None else float(uncertainty[a, b]))
        / (1 + item_counts.get(frozenset((completions[a].id, completions[b].id)), 0))
        for a, b in all_pairs
    }
    drawn, rest = all_pairs[:random_count], all_pairs[random_count:]
    sources = [completion.source for completion in completions]
    covering = _cover(sources, drawn, rest, value, count - random_count)
    rest = [indices for indices in rest if indices not in covering]
    rest.sort(key=lambda indices: (-value[indices], sources[indices[0]] == sources[indices[1]]))
    return [
        *(pair(indices, "random", random_count / len(all_pairs)) for indices in drawn),
        *(pair(indices, "cover") for indices in covering),
        *(pair(indices, "uncertain") for indices in rest[: count - random_count - len(covering)]),
    ]


def rankings(
    completions: Sequence[Completion], k: int, seed: int, count: int | None = None
) -> list[tuple[str, ...]]:
    """Choose sets of K completions to rank, in which completions and pairs occur about equally often.

    Numbers of occurrences of two completions differ by 1 at most. For K completions or fewer there is one set of
    all; for a single completion none. The result depends on the completions and the seed, not on their order.

    Args:
        completions: completions of one prompt.
        k: number of completions per set, at least 2.
        seed: seed of the choice among equals.
        count: number of sets; by default the number of pairs divided by that of a set, rounded up.

    Returns:
        The ids of each set.

    Raises:
        DataError: two completions share an id, or an argument is out of its range.
    """
    if k < 2 or (count is not None and count < 1):
        raise DataError(
            f"a ranking has {k} completions and there are {count} sets; pass at least 2 and at least 1."
        )
    ordered = _sorted_by_id(completions)
    if len(ordered) <= k:
        return [tuple(completions[index].id for index in ordered)] if len(ordered) > 1 else []
    sets = math.ceil(math.comb(len(ordered), 2) / math.comb(k, 2)) if count is None else count
    rng = _rng(seed, completions)
    tries = [_sets(ordered, k, sets, rng) for _ in range(TRIES)]
    # The first of the draws with the smallest sum of squared pair counts.
    _, best = min(tries, key=lambda draw: sum(times**2 for times in draw[0].values()))
    return [tuple(completions[index].id for index in ordered if index in group) for group in best]


def _sorted_by_id(completions: Sequence[Completion]) -> list[int]:
    """Return the indices of the completions in the order of their ids."""
    if len({completion.id for completion in completions}) < len(completions):
        raise DataError("two completions of a prompt share an id; give each its own.")
    return sorted(range(len(completions)), key=lambda index: completions[index].id)


def _rng(seed: int, completions: Sequence[Completion]) -> random.Random:
    """Seed a generator with the ids too: with the seed alone, all prompts would draw the same indices."""
    return random.Random(digest([seed, *sorted(completion.id for completion in completions)]))


def _cover(
    sources: Sequence[str],
    drawn: Sequence[IndexPair],
    rest: Sequence[IndexPair],
    value: Mapping[IndexPair, float],
    count: int,
) -> list[IndexPair]:
    """Choose up to `count` pairs of `rest` so that each completion is in a pair.

    Pairs of two uncovered completions come first, then pairs of different sources. Of these, the pairs with a
    completion of the source with most uncovered ones come first, which gives as many pairs of different sources
    as possible; then pairs by value.
    """
    uncovered = set(range(len(sources))) - {index for indices in drawn for index in indices}
    covering: list[IndexPair] = []
    while uncovered and len(covering) < count:
        left = Counter(sources[index] for index in uncovered)

        def merit(
            indices: IndexPair, uncovered: set[int] = uncovered, left: Counter[str] = left
        ) -> tuple[float, ...]:
            a, b = indices
            new = (a in uncovered) + (b in uncovered)
            return (new, sources[a] != sources[b], max(left[sources[a]], left[sources[b]]), value[indices])

        covering.append(max(rest, key=merit))
        uncovered -= set(covering[-1])
    return covering


def _sets(
    indices: Sequence[int], k: int, count: int, rng: random.Random
) -> tuple[Counter[frozenset[int]], list[list[int]]]:
    """Draw sets of the least used indices, and among these of those that met the rest of the set least often.

    Returns:
        Number of sets that two indices share, and the sets.
    """
    used: Counter[int] = Counter()
    together: Counter[frozenset[int]] = Counter()
    sets = []
    for _ in range(count):
        order, group = rng.sample(indices, len(indices)), list[int]()
        while len(group) < k:
            met = {n: sum(together[frozenset((n, other))] for other in group) for n in order if n not in group}
            group.append(min(met, key=lambda index: (used[index], met[index])))
        used.update(group)
        together.update(frozenset(two) for two in combinations(group, 2))
        sets.append(group)
    return together, sets
