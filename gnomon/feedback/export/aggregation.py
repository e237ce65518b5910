"""From what several people said of an item to what they prefer, taken together.

Any answer says of two completions which one it calls better (`answers.worth`), so a pair, a ranking and scores
are combined alike: the share of the voices for the better one is the preference's probability, an even voice
counts a half for each, and the mean difference in worth is its margin. A pair that somebody calls bad on both
sides lacks their voice. What a reviewer decided of an item stands in the place of all voices.

- `majority`: each voice counts the same.
- `reliability`: each voice counts as much as its annotator's reliability; the pair's weight is their mean.
- `dawid_skene`: pairs only; the probability is that of the true label, given how everybody errs.
- `bradley_terry`: the probability that strengths of a prompt's completions give, over all that was said of it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal, get_args

import numpy as np

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Preference, Prompt, Ranking
from gnomon.feedback.export.soft_preferences import preferences_by_strength
from gnomon.feedback.quality.reliability import records
from gnomon.feedback.task_types import Setup, limits_of, worth
from gnomon.feedback.tasks.judgements import Asked, Spoken
from gnomon.stats.dawid_skene import dawid_skene
from gnomon.stats.votes import Vote

By = Literal["majority", "reliability", "dawid_skene", "bradley_terry"]
GROUP = 8  # completions scored one by one that are compared with each other, at most


@dataclass(frozen=True)
class Scheme:
    """How voices are combined.

    Attributes:
        criterion: the one that scores are taken of; `None`: their mean over all criteria.
        weights: of annotators; all the same without them.
        truth: for items of pairs, the probability of each label.
    """

    by: By = "majority"
    criterion: str | None = None
    weights: Mapping[str, float] | None = None
    truth: Mapping[Hashable, Mapping[Hashable, float]] = field(default_factory=dict)

    def weight(self, annotator: str) -> float:
        """How much an annotator's voice counts."""
        return 1.0 if self.weights is None else self.weights[annotator]

    def worth(self, said: Spoken) -> dict[str, float]:
        """How good a judgement calls each completion; see `answers.worth`."""
        if self.criterion is None or "scores" not in said.answer:
            return worth(said.answer, said.shown)
        scores = [{self.criterion: one[self.criterion]} for one in said.answer["scores"]]
        return worth({"scores": scores}, said.shown)


def check_scheme(by: str, task: str, setup: Setup, criterion: str | None) -> By:
    """That a project can be combined so.

    Raises:
        ConfigError: it cannot.
    """
    if by not in get_args(By):
        raise ConfigError(f"there is no aggregation '{by}'; choose one of {', '.join(get_args(By))}.")
    if by == "dawid_skene" and task != "pair":
        raise ConfigError(f"dawid_skene combines pairs, but the project's task is {task}; choose another --by.")
    asked = setup.asked_of(task)
    if by == "bradley_terry" and asked:
        raise ConfigError(f"bradley_terry combines pairs and rankings, not a {task}; choose another --by.")
    if criterion is not None and criterion not in asked:
        known = f"choose one of {', '.join(asked)}" if asked else f"a {task} has none"
        raise ConfigError(f"the project has no criterion '{criterion}'; {known}.")
    return by  # type: ignore[return-value]  # checked above


def learn_scheme(
    by: By, criterion: str | None, votes: Sequence[Vote], gold: Mapping[Hashable, Hashable], setup: Setup
) -> Scheme:
    """What the whole project says of its annotators.

    Args:
        by: how voices are combined.
        criterion: the one that scores are taken of.
        votes: of all items; with those on gold items where reliability is asked for, without them otherwise.
        gold: the right labels of gold items.
        setup: the project's limits of time and of reasons.
    """
    if by == "reliability":
        scores = {one.annotator: one.score for one in records(votes, gold, limits_of(setup))}
        known = [score for score in scores.values() if score is not None]
        mean = sum(known) / len(known) if known else 1.0  # of whom nothing is known counts like the others
        return Scheme(by, criterion, {who: mean if s is None else s for who, s in scores.items()})
    if by == "dawid_skene" and votes:
        found = dawid_skene(votes)
        truth = {
            item: dict(zip(found.labels, row.tolist(), strict=True))
            for item, row in zip(found.items, found.posterior, strict=True)
        }
        return Scheme(by, criterion, truth=truth)
    return Scheme(by, criterion)


def compared(asked: Asked, scheme: Scheme) -> Iterator[Preference]:
    """A preference for every two completions of an item of which somebody said which is better."""
    for a, b in combinations(asked.completions, 2):
        voices = []
        for weight, said in _heard(asked, scheme):
            if said.answer.get("choice") != "bad":
                found = scheme.worth(said)
                voices.append((weight, found[a.id] - found[b.id]))
        truth = None if asked.decided else scheme.truth.get(asked.item)
        made = _by_shares(voices) if truth is None else _by_truth(truth)
        if made is not None:
            yield preference(asked.prompt, a, b, *made, _mean_weight(voices, scheme))


def compared_by_strength(group: Sequence[Asked], scheme: Scheme) -> Iterator[tuple[Preference, tuple[int, ...]]]:
    """Preferences between completions of one prompt by their strengths, with the items that bear on both.

    Of the weights, which are the voices on a pair, 1 is made: what more voices say is in the probability.
    """
    completions = {one.id: one for asked in group for one in asked.completions}
    said = [
        scheme.worth(voice)
        for asked in group
        for _, voice in _heard(asked, scheme)
        if voice.answer.get("choice") != "bad"
    ]
    if said:
        for made in preferences_by_strength(group[0].prompt, completions.values(), said):
            both = {made.chosen.id, made.rejected.id}
            yield replace(made, weight=1.0), tuple(a.item for a in group if both <= set(a.ids))


def ranked(asked: Asked, scheme: Scheme) -> tuple[Ranking, ...]:
    """An item's completions by their mean worth, best first; nothing without voices.

    A ranking knows no ties. Where some have the same worth there are two rankings, each of half the weight: these
    stand in the item's order in one and in the reverse in the other, so that neither side of a tie is preferred.
    """
    heard = list(_heard(asked, scheme))
    weights = [weight for weight, _ in heard]
    if not math.fsum(weights):
        return ()
    worths = [scheme.worth(said) for _, said in heard]
    sums = {one: math.fsum(w * found[one] for w, found in zip(weights, worths, strict=True)) for one in asked.ids}
    orders = [asked.completions]
    if len(set(sums.values())) < len(sums):
        orders.append(asked.completions[::-1])
    weight = (_mean(weights) if scheme.weights else 1.0) / len(orders)
    return tuple(
        Ranking(asked.prompt, tuple(sorted(order, key=lambda one: -sums[one.id])), weight) for order in orders
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """A completion that was scored by itself: what it got, and how much each of these scores weighs."""

    item: int
    completion: Completion
    scores: tuple[float, ...]
    weights: tuple[float, ...]


def scored(asked: Asked, scheme: Scheme) -> Scored | None:
    """An item of one completion; `None` where no score of it has a weight."""
    heard = list(_heard(asked, scheme))
    scores = tuple(scheme.worth(said)[asked.ids[0]] for _, said in heard)
    weights = tuple(weight for weight, _ in heard)
    return Scored(asked.item, asked.completions[0], scores, weights) if math.fsum(weights) else None


def compared_apart(
    prompt: Prompt, found: Sequence[Scored], scheme: Scheme
) -> Iterator[tuple[Preference, tuple[int, int]]]:
    """Preferences between completions of one prompt that were scored one by one, with the items of both.

    They are compared in groups of up to eight, drawn at random with a fixed seed. The probability is how often a
    score of the one exceeds a score of the other, over all pairs of a score of each.
    """
    if len(found) < 2:
        return
    order = np.random.default_rng(0).permutation(len(found))
    for places in np.array_split(order, -(-len(found) // GROUP)):
        for one, other in combinations([found[place] for place in places], 2):
            product = np.outer(one.weights, other.weights)
            wins = (np.sign(np.subtract.outer(one.scores, other.scores)) + 1) / 2
            share = float((product * wins).sum() / product.sum())
            margin = _average(one) - _average(other)
            weight = _mean([*one.weights, *other.weights]) if scheme.weights else 1.0
            made = preference(prompt, one.completion, other.completion, share, margin, weight)
            yield made, (one.item, other.item)


def preference(
    prompt: Prompt, a: Completion, b: Completion, share: float, margin: float, weight: float
) -> Preference:
    """The preference that says `a` is better with this share; the other way round where it is below a half."""
    if share < 0.5 or (share == 0.5 and margin < 0):
        a, b, share, margin = b, a, 1 - share, -margin
    return Preference(prompt, a, b, probability=share, margin=margin, weight=weight)


def both_bad(asked: Asked, scheme: Scheme) -> bool:
    """Whether a judged pair is one that people call bad on both sides."""
    if asked.item in scheme.truth and not asked.decided:
        return _by_truth(scheme.truth[asked.item]) is None
    return all(said.answer.get("choice") == "bad" for _, said in _heard(asked, scheme))


def weightless(asked: Asked, scheme: Scheme) -> bool:
    """Whether nobody who says something of a judged item, other than that all of it is bad, has a weight."""
    weights = [weight for weight, said in _heard(asked, scheme) if said.answer.get("choice") != "bad"]
    return bool(weights) and not any(weights)


def _heard(asked: Asked, scheme: Scheme) -> Iterator[tuple[float, Spoken]]:
    """Who is heard of an item, with their weights: everybody who judged it, or the reviewer alone who decided."""
    if asked.decided is not None:
        yield 1.0, asked.decided
        return
    for said in asked.voices:
        yield scheme.weight(said.annotator), said


def _by_shares(voices: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Share and margin of the first of two, from weights and differences in worth."""
    total = math.fsum(weight for weight, _ in voices)
    if not total:
        return None
    share = math.fsum(weight * (1.0 if d > 0 else 0.5 if d == 0 else 0.0) for weight, d in voices) / total
    return share, math.fsum(weight * d for weight, d in voices) / total


def _by_truth(labels: Mapping[Hashable, float]) -> tuple[float, float] | None:
    """The same from the probabilities of a pair's labels; `None` where that of `bad` is a half or more."""
    bad = labels.get("bad", 0.0)
    if bad >= 0.5:
        return None
    # Rounding may lead a little over 1.
    share = min(1.0, (labels.get("a", 0.0) + labels.get("tie", 0.0) / 2) / (1 - bad))
    return share, 2 * share - 1


def _average(one: Scored) -> float:
    return math.fsum(w * s for w, s in zip(one.weights, one.scores, strict=True)) / math.fsum(one.weights)


def _mean_weight(voices: Sequence[tuple[float, float]], scheme: Scheme) -> float:
    return _mean([weight for weight, _ in voices]) if scheme.weights else 1.0


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)
