"""Aggregation: combine the judgements of several annotators into preferences and rankings.

Every answer gives a value to each completion (`task_types.worth`), so pairs, rankings and scores are aggregated
in the same way. The methods differ in the probability and the margin of a preference:

- `majority`: the probability is the share of votes for the preferred completion, where a tie is half a vote for
  each; the margin is the mean difference in worth; the preference's `tie` is the share of ties.
- `reliability`: the same, with each vote weighted by its annotator's reliability, and by its confidence if that
  proves to be calibrated (`stats.confidence`); the preference's weight is the mean of these weights.
- `dawid_skene`: pairs only. The probability is the posterior one of the true label, given each annotator's error
  rates; the margin is 2·probability − 1; `tie` is the posterior probability of a tie.
- `bradley_terry`: pairs and rankings. The margin is the difference of the completions' log-strengths, estimated
  from all judgements of the prompt; the probability is σ(margin); the model has no ties.

Completions that were scored one by one are compared by `score_preferences`. Votes of "both bad" are excluded. A
reviewer's decision replaces all votes of its item; a preference by `dawid_skene` is then computed as by
`majority`.
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
from gnomon.feedback.quality.reliability import annotator_reliability
from gnomon.feedback.task_types import DEMONSTRATION, Setup, limits_of, worth
from gnomon.feedback.tasks.judgements import JudgedItem, StoredJudgement
from gnomon.stats.confidence import ConfidenceCalibration, confidence_calibration
from gnomon.stats.dawid_skene import dawid_skene
from gnomon.stats.votes import Vote

AggregationMethod = Literal["majority", "reliability", "dawid_skene", "bradley_terry"]
MAX_COMPARED = 8  # individually scored completions of a prompt that are compared with each other


@dataclass(frozen=True)
class Aggregator:
    """A fitted aggregation.

    Attributes:
        method: method of aggregation.
        criterion: criterion of the scores to use; `None`: their mean over all criteria.
        weights: weight of each annotator; `None`: all 1.
        label_posteriors: for each item, the posterior probability of each label (`dawid_skene`).
        confidence: calibration of confidence (`reliability`); `None` if no confidence can be checked.
    """

    method: AggregationMethod = "majority"
    criterion: str | None = None
    weights: Mapping[str, float] | None = None
    label_posteriors: Mapping[Hashable, Mapping[Hashable, float]] = field(default_factory=dict)
    confidence: ConfidenceCalibration | None = None

    def weight(self, judgement: StoredJudgement) -> float:
        """Return the weight of a judgement: that of its annotator, times that of its confidence."""
        weight = 1.0 if self.weights is None else self.weights[judgement.annotator]
        if self.confidence is None:
            return weight
        return weight * self.confidence.weight(judgement.annotator, judgement.confidence)

    def worth(self, judgement: StoredJudgement) -> dict[str, float]:
        """Return the value of each completion in a judgement, by id; see `task_types.worth`."""
        if self.criterion is None or "scores" not in judgement.answer:
            return worth(judgement.answer, judgement.shown)
        scores = [{self.criterion: one[self.criterion]} for one in judgement.answer["scores"]]
        return worth({"scores": scores}, judgement.shown)


def check_aggregation(method: str, task: str, setup: Setup, criterion: str | None) -> AggregationMethod:
    """Check that an aggregation method is valid for a project.

    Args:
        method: name of the method.
        task: task of the project.
        setup: setup of the project.
        criterion: criterion of the scores, or `None`.

    Raises:
        ConfigError: the method is unknown or does not fit the task, or the project has no such criterion.
    """
    if method not in get_args(AggregationMethod):
        raise ConfigError(
            f"there is no aggregation '{method}'; choose one of {', '.join(get_args(AggregationMethod))}."
        )
    if task == DEMONSTRATION and method != "majority":
        raise ConfigError(f"{method} combines votes, and written answers are not combined; remove --aggregation.")
    if method == "dawid_skene" and task != "pair":
        raise ConfigError(
            f"dawid_skene combines pairs, but the project's task is {task}; choose another --aggregation."
        )
    criteria = setup.criteria_of(task)
    if method == "bradley_terry" and criteria:
        raise ConfigError(
            f"bradley_terry combines pairs and rankings, not a {task}; choose another --aggregation."
        )
    if criterion is not None and criterion not in criteria:
        known = f"choose one of {', '.join(criteria)}" if criteria else f"a {task} has none"
        raise ConfigError(f"the project has no criterion '{criterion}'; {known}.")
    return method  # type: ignore[return-value]  # checked above


def fit_aggregator(
    method: AggregationMethod,
    criterion: str | None,
    votes: Sequence[Vote],
    gold: Mapping[Hashable, Hashable],
    setup: Setup,
) -> Aggregator:
    """Fit an aggregator to all votes of a project.

    Args:
        method: method of aggregation.
        criterion: criterion of the scores to use; `None`: the mean.
        votes: on all items; on gold items only for `reliability`.
        gold: correct labels of gold items.
        setup: setup of the project, for its limits of time and reasons.
    """
    if method == "reliability":
        scores = {one.annotator: one.score for one in annotator_reliability(votes, gold, limits_of(setup))}
        known = [score for score in scores.values() if score is not None]
        mean = sum(known) / len(known) if known else 1.0  # annotators without a score get the mean
        weights = {who: mean if s is None else s for who, s in scores.items()}
        calibration = confidence_calibration(votes, gold)
        return Aggregator(method, criterion, weights, confidence=calibration if calibration.votes else None)
    if method == "dawid_skene" and votes:
        estimate = dawid_skene(votes)
        label_posteriors = {
            item: dict(zip(estimate.labels, row.tolist(), strict=True))
            for item, row in zip(estimate.items, estimate.posterior, strict=True)
        }
        return Aggregator(method, criterion, label_posteriors=label_posteriors)
    return Aggregator(method, criterion)


def item_preferences(item: JudgedItem, aggregator: Aggregator) -> Iterator[Preference]:
    """Yield a preference for every two completions of an item that have a weighted vote."""
    for a, b in combinations(item.completions, 2):
        weighted = []
        for weight, judgement in _weighted(item, aggregator):
            if judgement.answer.get("choice") != "bad":
                values = aggregator.worth(judgement)
                weighted.append((weight, values[a.id] - values[b.id]))
        posterior = None if item.decision else aggregator.label_posteriors.get(item.key)
        pair = _from_votes(weighted) if posterior is None else _from_posterior(posterior)
        if pair is not None:
            share, margin, tie = pair
            weight = _mean_weight(weighted, aggregator)
            yield make_preference(item.prompt, a, b, share=share, margin=margin, weight=weight, tie=tie)


def strength_preferences(
    group: Sequence[JudgedItem], aggregator: Aggregator
) -> Iterator[tuple[Preference, tuple[int, ...]]]:
    """Yield preferences by the strengths of one prompt's completions, with the items that contain both.

    All weights are 1: the number of votes is already in the probability.
    """
    completions = {one.id: one for item in group for one in item.completions}
    values = [
        aggregator.worth(judgement)
        for item in group
        for _, judgement in _weighted(item, aggregator)
        if judgement.answer.get("choice") != "bad"
    ]
    if values:
        for pair in preferences_by_strength(group[0].prompt, completions.values(), values):
            both = {pair.chosen.id, pair.rejected.id}
            yield replace(pair, weight=1.0), tuple(one.key for one in group if both <= set(one.ids))


def item_rankings(item: JudgedItem, aggregator: Aggregator) -> tuple[Ranking, ...]:
    """Rank an item's completions by their mean worth, best first; empty without weighted votes.

    A ranking has no ties. If some completions have the same worth, there are two rankings of half the weight: one
    has the tied completions in the item's order, the other in reverse, so that none is preferred.
    """
    judgements = list(_weighted(item, aggregator))
    weights = [weight for weight, _ in judgements]
    if not math.fsum(weights):
        return ()
    worths = [aggregator.worth(judgement) for _, judgement in judgements]
    sums = {
        one: math.fsum(w * worth_of[one] for w, worth_of in zip(weights, worths, strict=True)) for one in item.ids
    }
    orders = [item.completions]
    if len(set(sums.values())) < len(sums):
        orders.append(item.completions[::-1])
    weight = (_mean(weights) if aggregator.weights else 1.0) / len(orders)
    return tuple(
        Ranking(item.prompt, tuple(sorted(order, key=lambda one: -sums[one.id])), weight) for order in orders
    )


@dataclass(frozen=True, slots=True)
class ScoredCompletion:
    """A completion that was scored individually, with its scores and their weights."""

    item: int
    completion: Completion
    scores: tuple[float, ...]
    weights: tuple[float, ...]


def score_completion(item: JudgedItem, aggregator: Aggregator) -> ScoredCompletion | None:
    """Return the scores of an item's only completion with their weights; `None` if all weights are 0."""
    judgements = list(_weighted(item, aggregator))
    scores = tuple(aggregator.worth(judgement)[item.ids[0]] for _, judgement in judgements)
    weights = tuple(weight for weight, _ in judgements)
    return ScoredCompletion(item.key, item.completions[0], scores, weights) if math.fsum(weights) else None


def score_preferences(
    prompt: Prompt, completions: Sequence[ScoredCompletion], aggregator: Aggregator
) -> Iterator[tuple[Preference, tuple[int, int]]]:
    """Yield preferences between individually scored completions of one prompt, with the items of both.

    Completions are compared in random groups of up to `MAX_COMPARED`, drawn with a fixed seed. The probability is
    the share of pairs of scores, one score of each completion, in which the first exceeds the second. A pair of
    scores is weighted by the product of their weights, and equal scores count one half. The margin is the
    difference of the weighted mean scores.

    Args:
        prompt: prompt of the completions.
        completions: completions with their scores.
        aggregator: if it weights annotators, a preference's weight is the mean weight of both scores; else 1.
    """
    if len(completions) < 2:
        return
    order = np.random.default_rng(0).permutation(len(completions))
    for indices in np.array_split(order, -(-len(completions) // MAX_COMPARED)):
        for one, other in combinations([completions[index] for index in indices], 2):
            product = np.outer(one.weights, other.weights)
            outcomes = np.sign(np.subtract.outer(one.scores, other.scores))
            share = float((product * (outcomes + 1)).sum() / (2 * product.sum()))
            tie = float((product * (outcomes == 0)).sum() / product.sum())
            margin = _average(one) - _average(other)
            weight = _mean([*one.weights, *other.weights]) if aggregator.weights else 1.0
            sides = one.completion, other.completion
            pair = make_preference(prompt, *sides, share=share, margin=margin, weight=weight, tie=tie)
            yield pair, (one.item, other.item)


def make_preference(
    prompt: Prompt,
    a: Completion,
    b: Completion,
    *,
    share: float,
    margin: float,
    weight: float,
    tie: float = 0.0,
) -> Preference:
    """Create a preference for `a`, or for `b` if `share` is below one half or is one half with a margin below 0.

    Args:
        prompt: prompt of both completions.
        a: one completion.
        b: the other.
        share: probability that `a` is better.
        margin: margin of `a` over `b`.
        weight: weight in the loss.
        tie: probability that they are equal.
    """
    if share < 0.5 or (share == 0.5 and margin < 0):
        a, b, share, margin = b, a, 1 - share, -margin
    return Preference(prompt, a, b, probability=share, margin=margin, weight=weight, tie=tie)


def is_both_bad(item: JudgedItem, aggregator: Aggregator) -> bool:
    """Return whether a judged pair is "both bad"."""
    if item.key in aggregator.label_posteriors and not item.decision:
        return _from_posterior(aggregator.label_posteriors[item.key]) is None
    return all(judgement.answer.get("choice") == "bad" for _, judgement in _weighted(item, aggregator))


def is_weightless(item: JudgedItem, aggregator: Aggregator) -> bool:
    """Return whether an item has votes other than "both bad" and all their weights are 0."""
    weights = [
        weight for weight, judgement in _weighted(item, aggregator) if judgement.answer.get("choice") != "bad"
    ]
    return bool(weights) and not any(weights)


def _weighted(item: JudgedItem, aggregator: Aggregator) -> Iterator[tuple[float, StoredJudgement]]:
    """Yield an item's judgements with their weights: the reviewer's decision alone, or all that count."""
    if item.decision is not None:
        yield 1.0, item.decision
        return
    for judgement in item.counted_judgements:
        yield aggregator.weight(judgement), judgement


def _from_votes(weighted: Sequence[tuple[float, float]]) -> tuple[float, float, float] | None:
    """Compute the first completion's share of the votes, its margin, and the share of ties.

    Args:
        weighted: per vote, its weight and by how much the first completion's worth exceeds the second's.

    Returns:
        Share, margin and share of ties, or `None` if all weights are 0.
    """
    total = math.fsum(weight for weight, _ in weighted)
    if not total:
        return None
    share = math.fsum(weight * (1.0 if d > 0 else 0.5 if d == 0 else 0.0) for weight, d in weighted) / total
    tie = math.fsum(weight for weight, d in weighted if d == 0) / total
    return share, math.fsum(weight * d for weight, d in weighted) / total, tie


def _from_posterior(posterior: Mapping[Hashable, float]) -> tuple[float, float, float] | None:
    """Compute the first completion's share, margin and share of ties from the probability of a pair's labels.

    Returns:
        Share, margin and share of ties, or `None` if the probability of `bad` is at least one half.
    """
    bad = posterior.get("bad", 0.0)
    if bad >= 0.5:
        return None
    # Rounding may exceed 1 slightly.
    tie = min(1.0, posterior.get("tie", 0.0) / (1 - bad))
    share = min(1.0, posterior.get("a", 0.0) / (1 - bad) + tie / 2)
    return share, 2 * share - 1, tie


def _average(one: ScoredCompletion) -> float:
    return math.fsum(w * s for w, s in zip(one.weights, one.scores, strict=True)) / math.fsum(one.weights)


def _mean_weight(weighted: Sequence[tuple[float, float]], aggregator: Aggregator) -> float:
    return _mean([weight for weight, _ in weighted]) if aggregator.weights else 1.0


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers)
