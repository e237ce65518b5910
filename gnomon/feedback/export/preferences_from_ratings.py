"""From what single raters said to what people, taken together, prefer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Judgement, Preference, Prompt, Ranking, RatedText
from gnomon.data.splits import normalized_text


@dataclass(slots=True)
class PreferenceSet:
    """Preferences made from ratings, and what became of every other pair.

    Attributes:
        preferences: the pairs kept, group by group.
        rankings: each group's different texts by their mean rating, best first.
        groups: how many groups they come from.
        ties: kept pairs that people would split evenly, with a probability of exactly 0.5.
        equal_texts: pairs dropped because both texts are the same.
        close: pairs dropped because their means are nearer than the minimum margin.
        left_over: texts that made no group, having nothing left to be compared with.
    """

    preferences: list[Preference] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)
    groups: int = 0
    ties: int = 0
    equal_texts: int = 0
    close: int = 0
    left_over: int = 0


def judgements_from_ratings(items: Iterable[RatedText]) -> Iterator[Judgement]:
    """One judgement for every single rating, so that published ratings and fresh ones are stored alike.

    Where a rater is not known, the name, such as `film-reviews:3:r07`, is NOT an identity: it says "the eighth
    rating in the list of this text", and the same person appears under another name at the next text. Nothing
    that follows a rater across texts may be computed from such names. A text without a prompt is judged by
    itself, so it is its own prompt.
    """
    for item in items:
        prompt = item.prompt.id if item.prompt else item.id
        for place, rating in enumerate(item.ratings):
            name = f"{item.id}:r{place:02d}"
            rater = (item.raters[place] if item.raters else "") or name
            yield Judgement(id=name, rater=rater, prompt_id=prompt, shown=(item.id,), value=(rating,))


def rated_texts_from_judgements(judgements: Iterable[Judgement], texts: Mapping[str, str]) -> list[RatedText]:
    """Collect the ratings of every completion; the inverse of `judgements_from_ratings`.

    When one rater judged a completion twice, the later judgement is a correction and counts alone: each rater
    has one voice a text.

    Args:
        judgements: in the order in which they were made.
        texts: completion id → text.

    Returns:
        The rated texts in the order in which they first appear. A text that nobody judged is not among them.

    Raises:
        DataError: a judgement speaks of an unknown completion, or its values do not fit what was shown.
    """
    by_text: dict[str, dict[str, float]] = {}
    for judgement in judgements:
        if len(judgement.shown) != len(judgement.value):
            raise DataError(
                f"judgement {judgement.id} has {len(judgement.value)} values for {len(judgement.shown)} "
                f"completions; it needs one for each."
            )
        for completion, value in zip(judgement.shown, judgement.value, strict=True):
            if completion not in texts:
                raise DataError(f"judgement {judgement.id} speaks of an unknown completion {completion!r}.")
            by_text.setdefault(completion, {})[judgement.rater] = value
    return [RatedText(id, texts[id], tuple(ratings.values())) for id, ratings in by_text.items()]


def preferences_from_ratings(
    items: Sequence[RatedText],
    prompts: Sequence[Prompt],
    *,
    group_size: int,
    seed: int,
    minimum_margin: float = 0.0,
) -> PreferenceSet:
    """Put rated texts into groups and make a preference of every pair within a group.

    The probability of a pair is how often one rating of `chosen` exceeds one of `rejected`, ties counted half,
    over all pairs of a rating of each. It says how far two people picked at random would agree, which the
    means alone do not. The margin may be slightly negative: the favourite of most need not have the higher
    mean.

    Args:
        items: rated texts, used once each.
        prompts: what the texts are taken to answer. Each group takes the next prompt, round and round, under
            an id of its own (`<prompt id>#<group>`), because groups are told apart by prompt id.
        group_size: texts in a group, at least 2; the last group may be smaller.
        seed: of the shuffle.
        minimum_margin: pairs whose means are nearer than this are dropped.

    Raises:
        DataError: no prompts, groups of fewer than two, or a text without ratings.
    """
    if not prompts:
        raise DataError("preferences need at least one prompt that the texts answer.")
    _check(items, group_size)
    made = PreferenceSet()
    order = np.random.default_rng(seed).permutation(len(items))
    for block, start in enumerate(range(0, len(items), group_size)):
        group = [items[place] for place in order[start : start + group_size]]
        if len(group) < 2:
            made.left_over = len(group)
            break
        prompt = prompts[block % len(prompts)]
        _add_group(made, group, replace(prompt, id=f"{prompt.id}#{block:04d}"), minimum_margin)
    return made


def preferences_within_prompts(
    items: Sequence[RatedText], *, group_size: int, seed: int, minimum_margin: float = 0.0
) -> PreferenceSet:
    """The same for texts that have prompts of their own: only texts that answer one prompt are compared.

    A prompt with more than `group_size` texts is cut into groups of about equal size. A text that has nothing
    to be compared with makes no preference, and is counted as left over.

    Args:
        items: rated texts, each with its prompt. Each group's prompt gets an id of its own, as there.
        group_size: the most texts that are compared with each other, at least 2.
        seed: of the shuffle within a prompt.
        minimum_margin: pairs whose means are nearer than this are dropped.

    Raises:
        DataError: groups of fewer than two, or a text without ratings or prompt.
    """
    _check(items, group_size)
    by_prompt: dict[Prompt, list[RatedText]] = {}
    for item in items:
        if item.prompt is None:
            raise DataError(f"text {item.id} has no prompt, so there is nothing to compare it under.")
        by_prompt.setdefault(item.prompt, []).append(item)
    made, rng = PreferenceSet(), np.random.default_rng(seed)
    for prompt, texts in by_prompt.items():
        parts = np.array_split(rng.permutation(len(texts)), -(-len(texts) // group_size))
        for block, places in enumerate(parts):
            if len(places) < 2:
                made.left_over += 1
                continue
            group = [texts[place] for place in places]
            _add_group(made, group, replace(prompt, id=f"{prompt.id}#{block:04d}"), minimum_margin)
    return made


def _check(items: Sequence[RatedText], group_size: int) -> None:
    if group_size < 2:
        raise DataError(f"a group needs at least 2 texts to compare, not {group_size}.")
    if bare := next((item.id for item in items if not item.ratings), None):
        raise DataError(f"text {bare} has no ratings, so nothing is known about its place.")


def _add_group(made: PreferenceSet, group: Sequence[RatedText], prompt: Prompt, minimum_margin: float) -> None:
    """Add every pair within one group."""
    made.groups += 1
    by_text = {normalized_text(item.text): item for item in reversed(group)}  # of equal texts the first stays
    ranked = sorted(by_text.values(), key=lambda item: -item.mean)
    if len(ranked) > 1:
        made.rankings.append(Ranking(prompt, tuple(Completion(item.id, item.text) for item in ranked)))
    probability = win_probabilities(group)
    texts = [normalized_text(item.text) for item in group]
    for first, second in combinations(range(len(group)), 2):
        if texts[first] == texts[second]:
            made.equal_texts += 1
            continue
        if abs(group[first].mean - group[second].mean) < minimum_margin:
            made.close += 1
            continue
        made.ties += bool(probability[first, second] == 0.5)
        # An even pair keeps the order of the shuffle, so neither side of a tie is favoured.
        best, other = (first, second) if probability[first, second] >= 0.5 else (second, first)
        made.preferences.append(
            Preference(
                prompt=prompt,
                chosen=Completion(group[best].id, group[best].text),
                rejected=Completion(group[other].id, group[other].text),
                probability=float(probability[best, other]),
                margin=group[best].mean - group[other].mean,
            )
        )


def win_probabilities(items: Sequence[RatedText]) -> NDArray[np.float64]:
    """[N, N]: P(a rating of the row's text > one of the column's), ties counted half.

    Counted in whole numbers, so an even pair is exactly 0.5.
    """
    domain, column = np.unique([rating for item in items for rating in item.ratings], return_inverse=True)
    sizes = np.array([len(item.ratings) for item in items])
    counts = np.zeros((len(items), domain.size), dtype=np.int64)  # [N, values]
    np.add.at(counts, (np.repeat(np.arange(len(items)), sizes), column), 1)
    rank = np.arange(domain.size)
    points = np.sign(rank[:, None] - rank[None, :]) + 1  # [values, values]: a win 2, a tie 1, a loss 0
    wins = counts @ points @ counts.T
    probability: NDArray[np.float64] = wins / (2 * np.outer(sizes, sizes))
    return probability
