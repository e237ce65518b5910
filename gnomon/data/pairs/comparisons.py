"""Comparisons of the completions of each prompt, from records of any kind that compares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Label, Preference, Prompt, Ranking, RatedText
from gnomon.data.pairs.edges import Edge
from gnomon.data.pairs.settings import PairSettings
from gnomon.data.ratings import gather_ratings
from gnomon.stats.win_rates import tie_probabilities, win_probabilities


@dataclass
class Comparisons:
    """The completions of one prompt and their comparisons.

    Attributes:
        prompt: the prompt.
        completions: different completions, in order of first appearance.
        edges: comparisons; several of the same completions are merged later.
        close: number of pairs of ratings that were too close.
        equal: number of comparisons of a completion with an equal one.
    """

    prompt: Prompt
    completions: list[Completion] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    close: int = 0
    equal: int = 0
    _indices: dict[Any, int] = field(default_factory=dict)

    def index(self, completion: Completion) -> int:
        """Return the index of a completion; equal ones have the same."""
        key = completion.turns or completion.text
        if key not in self._indices:
            self._indices[key] = len(self.completions)
            self.completions.append(completion)
        return self._indices[key]

    def add(
        self,
        better: Completion,
        worse: Completion,
        *,
        probability: float,
        margin: float,
        weight: float,
        tie: float = 0.0,
    ) -> None:
        """Add a comparison; one of equal completions is counted instead.

        Args:
            better: the preferred completion.
            worse: the other one.
            probability: that `better` is preferred.
            margin: difference of ratings or strengths.
            weight: weight of the comparison.
            tie: share of ties.
        """
        first, second = self.index(better), self.index(worse)
        if first == second:
            self.equal += 1
        else:
            self.edges.append(Edge(first, second, probability, margin, weight, tie=tie))


def comparisons_of(records: Sequence[Any], settings: PairSettings) -> list[Comparisons]:
    """Gather the comparisons of each prompt. A prompt is what the model reads, whatever its id.

    Preferences count with their weight. A ranking of K completions makes C(K, 2) comparisons of weight 2/K each,
    K − 1 in all. A prompt's good and bad labels are compared, each good one with each bad one, with weights that
    add up to the number of labels less one. Ratings of one prompt are compared by `win_probabilities`, with
    weight 1.

    Args:
        records: preferences, rankings, labels or rated texts with prompts, all of one kind.
        settings: how ratings are compared.

    Raises:
        DataError: records of this kind compare nothing, or ratings have no prompts or, to be standardized, no
            raters.
    """
    groups: dict[tuple[Any, ...], Comparisons] = {}

    def group(prompt: Prompt) -> Comparisons:
        return groups.setdefault(prompt.context, Comparisons(prompt))

    kind = type(records[0]) if records else Preference
    if kind is Preference:
        for one in records:
            group(one.prompt).add(
                one.chosen,
                one.rejected,
                probability=one.probability,
                margin=one.margin,
                weight=one.weight,
                tie=one.tie,
            )
    elif kind is Ranking:
        for one in records:
            _add_ranking(group(one.prompt), one)
    elif kind is Label:
        for prompt, labels in _by_prompt(records):
            _add_labels(group(prompt), labels)
    elif kind is RatedText:
        for prompt, texts in _by_prompt(_comparable(records, settings)):
            _add_ratings(group(prompt), texts, settings.min_gap)
    else:
        raise DataError(
            "prompts and demonstrations compare nothing; give preferences, rankings, labels or ratings."
        )
    return list(groups.values())


def _by_prompt(records: Iterable[Any]) -> Iterator[tuple[Prompt, list[Any]]]:
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for record in records:
        groups[record.prompt.context].append(record)
    for group in groups.values():
        yield group[0].prompt, group


def _add_ranking(group: Comparisons, ranking: Ranking) -> None:
    count = len(ranking.completions)
    for better, worse in combinations(ranking.completions, 2):
        group.add(better, worse, probability=1.0, margin=0.0, weight=2 * ranking.weight / count)


def _add_labels(group: Comparisons, labels: Sequence[Label]) -> None:
    good, bad = ([one for one in labels if one.good is truth] for truth in (True, False))
    if not good or not bad:
        return
    share = (len(labels) - 1) / (len(good) * len(bad))
    for one in good:
        for other in bad:
            group.add(
                one.completion,
                other.completion,
                probability=1.0,
                margin=0.0,
                weight=share * (one.weight + other.weight) / 2,
            )


def _comparable(records: Sequence[RatedText], settings: PairSettings) -> list[RatedText]:
    """The texts with all their ratings, standardized if the settings ask for it."""
    if (bare := next((one for one in records if one.prompt is None), None)) is not None:
        raise DataError(
            f"{bare.where or bare.id}: the text has no prompt; only answers to one prompt are compared."
        )
    items = gather_ratings(records)
    return standardized(items) if settings.standardize else items


def standardized(items: Sequence[RatedText]) -> list[RatedText]:
    """Standardize the ratings of each rater to mean 0 and standard deviation 1 over all texts.

    A rater whose ratings are all equal gets 0 for each.

    Raises:
        DataError: a rating has no rater.
    """
    by_rater: dict[str, list[float]] = defaultdict(list)
    for item in items:
        if len(item.raters) < len(item.ratings) or not all(item.raters):
            raise DataError(
                f"{item.where or item.id}: a rating has no rater, so it cannot be standardized per rater."
            )
        for rater, rating in zip(item.raters, item.ratings, strict=True):
            by_rater[rater].append(rating)
    scale = {rater: (float(np.mean(values)), float(np.std(values)) or 1.0) for rater, values in by_rater.items()}
    return [replace(item, ratings=_scaled(item, scale)) for item in items]


def _scaled(item: RatedText, scale: Mapping[str, tuple[float, float]]) -> tuple[float, ...]:
    """The item's ratings less the rater's mean, by the rater's standard deviation."""
    pairs = zip(item.raters, item.ratings, strict=True)
    return tuple((rating - scale[rater][0]) / scale[rater][1] for rater, rating in pairs)


def _add_ratings(group: Comparisons, texts: Sequence[RatedText], min_gap: float) -> None:
    ratings = [one.ratings for one in texts]
    probabilities, ties = win_probabilities(ratings), tie_probabilities(ratings)
    for first, second in combinations(range(len(texts)), 2):
        gap = texts[first].mean - texts[second].mean
        if abs(gap) < min_gap:
            group.close += 1
            continue
        if gap < 0 or (gap == 0 and probabilities[first, second] < 0.5):
            first, second, gap = second, first, -gap
        better, worse = (Completion(texts[n].id, texts[n].text) for n in (first, second))
        probability, tie = float(probabilities[first, second]), float(ties[first, second])
        group.add(better, worse, probability=probability, margin=gap, weight=1.0, tie=tie)
