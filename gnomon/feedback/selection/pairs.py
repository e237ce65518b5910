"""Which completions of a prompt are compared: pairs, or sets to rank.

Up to three answers all pairs are compared. Beyond that a share of the pairs is drawn uniformly from all of them,
before anything else is looked at: what is estimated from these alone is unbiased, whatever the rest is chosen by.
The rest covers every answer once, answers of different sources first, and then goes where a reward model is least
certain and nobody has looked much.
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

FEW = 3  # answers of which all pairs are compared
TRIES = 16  # at sets to rank; the most even ones are kept

PairReason = Literal["all", "random", "cover", "uncertain"]
Places = tuple[int, int]


@dataclass(frozen=True)
class ComparisonPair:
    """Two answers to compare.

    Attributes:
        ids: of the two completions.
        why: all pairs are compared; or it was drawn at random; or it covers an answer; or it is uncertain.
        probability: that the random draw takes this pair, 1 where all are taken; `None` where it was chosen. An
            estimate over all pairs of the prompt weighs those that have one by its inverse, and leaves out the
            others.
    """

    ids: tuple[str, str]
    why: PairReason
    probability: float | None = None


def uncertainty(scores: ArrayLike) -> NDArray[np.float64]:
    """How uncertain reward models are of each pair of answers: `[answers, answers]`, 0 on the diagonal.

    With an ensemble it is the variance over its members of p = σ(r_a − r_b): what more judgements can settle. A
    single model knows only p(1 − p), which is as large where people disagree for good.

    Args:
        scores: `[members, answers]`, or `[answers]` of a single model.

    Raises:
        DataError: a score is not a finite number, or the shape is another.
    """
    rewards = np.atleast_2d(np.asarray(scores, dtype=np.float64))  # [M, N]
    if rewards.ndim != 2 or rewards.shape[0] < 1 or not np.isfinite(rewards).all():
        raise DataError(f"scores must be finite and [members, answers], not {list(rewards.shape)}; mend them.")
    wins = special.expit(rewards[:, :, None] - rewards[:, None, :])  # [M, N, N]
    found = wins.var(axis=0) if len(wins) > 1 else wins[0] * (1 - wins[0])
    np.fill_diagonal(found, 0.0)
    return np.asarray(found, dtype=np.float64)


def pairs(
    answers: Sequence[Completion],
    count: int,
    uncertainty: NDArray[np.float64] | None,
    seen: Mapping[frozenset[str], int],
    seed: int,
    floor: float = 0.2,
) -> list[ComparisonPair]:
    """The pairs of a prompt's answers to compare: the random ones, those that cover, the uncertain ones.

    All pairs where there are three answers or fewer, whatever the count, or no more pairs than `count`; none of a
    single answer. Every answer is covered where the count allows it beside the random pairs. The outcome depends
    on the answers and the seed, not on the order of the answers; prompts with one seed draw differently.

    Args:
        answers: completions of one prompt.
        count: how many pairs are wanted, at least 1.
        uncertainty: of each pair, `[answers, answers]`, as `uncertainty` finds it; `None` takes all for equal.
        seen: how often two answers, as a set of their ids, were compared before.
        seed: of the draw, and of the order among equals; another each round, or the same pairs are drawn.
        floor: share of the pairs, rounded up, that is drawn uniformly from all pairs.

    Raises:
        DataError: two answers share an id, or an argument makes no sense.
    """
    if count < 1 or not 0 <= floor <= 1:
        raise DataError(f"pairs need a count of at least 1 and a floor in [0, 1], not {count} and {floor}.")
    if uncertainty is not None and uncertainty.shape != (len(answers), len(answers)):
        raise DataError(f"the uncertainty of {len(answers)} answers is {list(uncertainty.shape)}; give [N, N].")
    by_id = _by_id(answers)
    everything: list[Places] = list(combinations(by_id, 2))

    def pair(places: Places, why: PairReason, probability: float | None = None) -> ComparisonPair:
        return ComparisonPair((answers[places[0]].id, answers[places[1]].id), why, probability)

    if len(answers) <= FEW or count >= len(everything):
        return [pair(places, "all", 1.0) for places in everything]
    _random(seed, answers).shuffle(everything)  # the sort below is stable: this is the order among equals
    drawn = math.ceil(round(floor * count, 9))  # 0.7·10 is 7
    worth = {
        (a, b): (1.0 if uncertainty is None else float(uncertainty[a, b]))
        / (1 + seen.get(frozenset((answers[a].id, answers[b].id)), 0))
        for a, b in everything
    }
    chosen, rest = everything[:drawn], everything[drawn:]
    covering = _cover([one.source for one in answers], chosen, rest, worth, count - drawn)
    rest = [places for places in rest if places not in covering]
    rest.sort(key=lambda p: (-worth[p], answers[p[0]].source == answers[p[1]].source))
    return [
        *(pair(places, "random", drawn / len(everything)) for places in chosen),
        *(pair(places, "cover") for places in covering),
        *(pair(places, "uncertain") for places in rest[: count - drawn - len(covering)]),
    ]


def rankings(answers: Sequence[Completion], k: int, seed: int, count: int | None = None) -> list[tuple[str, ...]]:
    """Sets of K answers to rank, in which each answer and each pair comes up about equally often.

    No answer comes up more than once more than another. One set of all where there are K answers or fewer; none
    of a single answer. The outcome depends on the answers and the seed, not on the order of the answers.

    Args:
        answers: completions of one prompt.
        k: answers a set, at least 2.
        seed: of the choice among equals.
        count: how many sets; `None`: as many as hold all pairs once, if they could be cut so evenly.

    Returns:
        The ids of each set.

    Raises:
        DataError: two answers share an id, or an argument makes no sense.
    """
    if k < 2 or (count is not None and count < 1):
        raise DataError(f"rankings need sets of at least 2 answers, and at least 1 set, not {k} and {count}.")
    left = _by_id(answers)
    if len(left) <= k:
        return [tuple(answers[place].id for place in left)] if len(left) > 1 else []
    wanted = math.ceil(math.comb(len(left), 2) / math.comb(k, 2)) if count is None else count
    generator = _random(seed, answers)
    tries = [_sets(left, k, wanted, generator) for _ in range(TRIES)]
    _, best = min(tries, key=lambda made: sum(times**2 for times in made[0].values()))  # the first of equals
    return [tuple(answers[place].id for place in left if place in group) for group in best]


def _by_id(answers: Sequence[Completion]) -> list[int]:
    """Places of the answers in the order of their ids."""
    if len({one.id for one in answers}) < len(answers):
        raise DataError("two answers of a prompt share an id; give each its own.")
    return sorted(range(len(answers)), key=lambda place: answers[place].id)


def _random(seed: int, answers: Sequence[Completion]) -> random.Random:
    """Of the seed and the answers, or the same places would be drawn at every prompt."""
    return random.Random(digest([seed, *sorted(one.id for one in answers)]))


def _cover(
    sources: Sequence[str],
    chosen: Sequence[Places],
    rest: Sequence[Places],
    worth: Mapping[Places, float],
    count: int,
) -> list[Places]:
    """Up to `count` further pairs, so that each answer is in one: two new answers where there are two.

    Of different sources where that is possible; one of the two is of the source with most answers left, which
    makes as many such pairs as there can be. Then by worth.
    """
    bare = set(range(len(sources))) - {place for places in chosen for place in places}
    found: list[Places] = []
    while bare and len(found) < count:
        left = Counter(sources[place] for place in bare)

        def merit(places: Places, bare: set[int] = bare, left: Counter[str] = left) -> tuple[float, ...]:
            a, b = places
            apart = sources[a] != sources[b]
            return ((a in bare) + (b in bare), apart, max(left[sources[a]], left[sources[b]]), worth[places])

        found.append(max(rest, key=merit))
        bare -= set(found[-1])
    return found


def _sets(
    places: Sequence[int], k: int, count: int, generator: random.Random
) -> tuple[Counter[frozenset[int]], list[list[int]]]:
    """How often two places come together, and the sets: in each the least used, and of them who met least."""
    used: Counter[int] = Counter()
    together: Counter[frozenset[int]] = Counter()
    found = []
    for _ in range(count):
        order, group = generator.sample(places, len(places)), list[int]()
        while len(group) < k:
            met = {p: sum(together[frozenset((p, other))] for other in group) for p in order if p not in group}
            group.append(min(met, key=lambda place: (used[place], met[place])))
        used.update(group)
        together.update(frozenset(two) for two in combinations(group, 2))
        found.append(group)
    return together, found
