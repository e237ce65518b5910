"""Converts ratings of single texts into preferences between texts, with probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Judgement, Preference, Prompt, Ranking, RatedText
from gnomon.data.splits import normalized_text
from gnomon.stats.win_rates import tie_probabilities, win_probabilities


@dataclass(slots=True)
class PreferenceSet:
    """Preferences made from ratings, and counts of all other pairs.

    Attributes:
        preferences: the resulting pairs, group by group.
        rankings: each group's different texts by their mean rating, best first.
        groups: number of groups.
        ties: number of preferences with a probability of exactly 0.5.
        equal_texts: pairs dropped because both texts are the same.
        close: pairs dropped because their mean ratings differ by less than the minimum margin.
        left_over: texts in no group, for lack of another text to compare.
    """

    preferences: list[Preference] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)
    groups: int = 0
    ties: int = 0
    equal_texts: int = 0
    close: int = 0
    left_over: int = 0


def judgements_from_ratings(items: Iterable[RatedText]) -> Iterator[Judgement]:
    """Convert each single rating into a judgement.

    For an unknown rater the name, such as `film-reviews:3:r07`, is NOT an identity: it means the eighth rating in
    the list of this text, and the same person has another name at the next text. Statistics that follow a rater
    across texts must not use such names. A text without a prompt is judged by itself and is its own prompt.
    """
    for item in items:
        prompt = item.prompt.id if item.prompt else item.id
        for index, rating in enumerate(item.ratings):
            name = f"{item.id}:r{index:02d}"
            rater = (item.raters[index] if item.raters else "") or name
            yield Judgement(id=name, rater=rater, prompt_id=prompt, shown=(item.id,), value=(rating,))


def rated_texts_from_judgements(judgements: Iterable[Judgement], texts: Mapping[str, str]) -> list[RatedText]:
    """Collect the ratings of each completion; the inverse of `judgements_from_ratings`.

    If a rater judged a completion twice, only the later judgement counts, as a correction.

    Args:
        judgements: in the order of time.
        texts: completion id → text.

    Returns:
        The rated texts in order of first appearance, without unjudged texts.

    Raises:
        DataError: a judgement refers to an unknown completion, or has not one value per completion.
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
                raise DataError(f"judgement {judgement.id} refers to an unknown completion {completion!r}.")
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
    """Put rated texts into random groups and make a preference of each pair within a group.

    A pair's probability is the share of pairs of one rating of `chosen` and one of `rejected` in which the former
    is higher; ties count one half. Unlike the difference of means, it estimates how often two random people would
    agree. The margin may be slightly negative: the text that more people prefer can have the lower mean.

    Args:
        items: rated texts, each used once.
        prompts: prompts that the texts are assumed to answer. Groups use them in rotation, each under its
            own id (`<prompt id>#<group>`), since groups are distinguished by prompt id.
        group_size: texts in a group, at least 2; the last group may be smaller.
        seed: seed of the shuffle.
        minimum_margin: pairs whose mean ratings differ by less are dropped.

    Raises:
        DataError: there are no prompts, groups are smaller than two, or a text has no ratings.
    """
    if not prompts:
        raise DataError("preferences need at least one prompt that the texts answer.")
    _check(items, group_size)
    result = PreferenceSet()
    order = np.random.default_rng(seed).permutation(len(items))
    for block, start in enumerate(range(0, len(items), group_size)):
        group = [items[index] for index in order[start : start + group_size]]
        if len(group) < 2:
            result.left_over = len(group)
            break
        prompt = prompts[block % len(prompts)]
        _add_group(result, group, replace(prompt, id=f"{prompt.id}#{block:04d}"), minimum_margin)
    return result


def preferences_within_prompts(
    items: Sequence[RatedText], *, group_size: int, seed: int, minimum_margin: float = 0.0
) -> PreferenceSet:
    """Make preferences between texts of the same prompt, for texts that have prompts.

    A prompt with more than `group_size` texts is split into groups of about equal size. A text without another
    text to compare makes no preference, and is counted as left over.

    Args:
        items: rated texts, each with its prompt. Each group's prompt gets an id `<prompt id>#<group>`.
        group_size: largest number of texts that are compared with each other, at least 2.
        seed: seed of the shuffle within a prompt.
        minimum_margin: pairs whose mean ratings differ by less are dropped.

    Raises:
        DataError: groups are smaller than two, or a text has no ratings or no prompt.
    """
    _check(items, group_size)
    by_prompt: dict[Prompt, list[RatedText]] = {}
    for item in items:
        if item.prompt is None:
            raise DataError(f"text {item.id} has no prompt; give each text a prompt.")
        by_prompt.setdefault(item.prompt, []).append(item)
    result, rng = PreferenceSet(), np.random.default_rng(seed)
    for prompt, texts in by_prompt.items():
        parts = np.array_split(rng.permutation(len(texts)), -(-len(texts) // group_size))
        for block, indices in enumerate(parts):
            if len(indices) < 2:
                result.left_over += 1
                continue
            group = [texts[index] for index in indices]
            _add_group(result, group, replace(prompt, id=f"{prompt.id}#{block:04d}"), minimum_margin)
    return result


def _check(items: Sequence[RatedText], group_size: int) -> None:
    if group_size < 2:
        raise DataError(f"a group needs at least 2 texts to compare, not {group_size}.")
    if bare := next((item.id for item in items if not item.ratings), None):
        raise DataError(f"text {bare} has no ratings, so it cannot be compared; give it one or more.")


def _add_group(result: PreferenceSet, group: Sequence[RatedText], prompt: Prompt, minimum_margin: float) -> None:
    """Add every pair within a group to the result."""
    result.groups += 1
    by_text = {normalized_text(item.text): item for item in reversed(group)}  # the first of equal texts
    ranked = sorted(by_text.values(), key=lambda item: -item.mean)
    if len(ranked) > 1:
        result.rankings.append(Ranking(prompt, tuple(Completion(item.id, item.text) for item in ranked)))
    ratings = [item.ratings for item in group]
    probability, tie = win_probabilities(ratings), tie_probabilities(ratings)
    texts = [normalized_text(item.text) for item in group]
    for first, second in combinations(range(len(group)), 2):
        if texts[first] == texts[second]:
            result.equal_texts += 1
            continue
        if abs(group[first].mean - group[second].mean) < minimum_margin:
            result.close += 1
            continue
        result.ties += bool(probability[first, second] == 0.5)
        # A tie keeps the order of the shuffle, so that neither side is favored.
        best, other = (first, second) if probability[first, second] >= 0.5 else (second, first)
        result.preferences.append(
            Preference(
                prompt=prompt,
                chosen=Completion(group[best].id, group[best].text),
                rejected=Completion(group[other].id, group[other].text),
                probability=float(probability[best, other]),
                margin=group[best].mean - group[other].mean,
                tie=float(tie[best, other]),
            )
        )
