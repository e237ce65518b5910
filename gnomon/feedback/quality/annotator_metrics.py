"""Metrics of annotators: accuracy on gold items, agreement with the others, position and length bias, time.

Every share has Wilson's 95% interval and its number of cases. Values without cases are None.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.feedback.task_types import Limits
from gnomon.stats.intervals import Share
from gnomon.stats.votes import Vote

NO_CASES = Share(0, 0)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of one annotator with the others who voted on the same items.

    Attributes:
        votes: number of the annotator's votes on items on which others voted too.
        observed: mean share of the others' votes that are equal.
        by_chance: the same if the annotator's labels were assigned to the items at random.
        kappa: (observed - by_chance) / (1 - by_chance); with one other annotator, J. Cohen's kappa (1960). None
            where all votes are equal, so that chance agrees everywhere.
    """

    votes: int
    observed: float | None
    by_chance: float | None
    kappa: float | None


@dataclass(frozen=True, slots=True)
class AnnotatorMetrics:
    """Metrics of one annotator.

    Attributes:
        annotator: the annotator's name.
        votes: number of votes.
        gold: correct votes on gold items.
        agreement: agreement with all others together.
        first: votes for the completion displayed first, without ties. By chance the share is 1/2, since the
            order is random.
        longer: votes for the longer completion, without ties and equal lengths. Not only a bias moves this from
            1/2, so compare it with the others' share.
        seconds: median time of a vote.
        too_fast, too_slow: votes below and above the time limits, among those with a time.
        short_reasons: reasons below the minimum length, among votes for which a reason was requested.
        flagged: written texts in which a check found something.
        accepted: written texts that a review accepted, among those with a review.
    """

    annotator: str
    votes: int
    gold: Share
    agreement: Agreement
    first: Share
    longer: Share
    seconds: float | None
    too_fast: Share
    too_slow: Share
    short_reasons: Share
    flagged: Share = NO_CASES
    accepted: Share = NO_CASES


def annotator_metrics(
    votes: Iterable[Vote], gold: Mapping[Any, Hashable] | None = None, limits: Limits | None = None
) -> list[AnnotatorMetrics]:
    """Compute the metrics of each annotator, sorted by name.

    Args:
        votes: all votes of all annotators, in any order.
        gold: correct label of each gold item.
        limits: thresholds for times and reasons; by default there are none.
    """
    own: dict[str, list[Vote]] = defaultdict(list)
    item_labels: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)  # of all annotators
    for vote in votes:
        own[vote.annotator].append(vote)
        item_labels[vote.item][vote.label] += 1
    return [_metrics(name, own[name], item_labels, gold or {}, limits or Limits()) for name in sorted(own)]


def _metrics(
    name: str,
    votes: Sequence[Vote],
    item_labels: Mapping[Hashable, Counter[Hashable]],
    gold: Mapping[Any, Hashable],
    limits: Limits,
) -> AnnotatorMetrics:
    """Compute the metrics of one annotator."""
    tested = [vote for vote in votes if vote.item in gold]
    first = [vote.chosen_first for vote in votes if vote.chosen_first is not None]
    longer = [
        vote.chosen_length > vote.other_length
        for vote in votes
        if vote.chosen_length is not None
        and vote.other_length is not None
        and vote.chosen_length != vote.other_length
    ]
    seconds = [vote.seconds for vote in votes if vote.seconds is not None]
    reasons = [vote.reason.strip() for vote in votes if vote.reason is not None]
    min_seconds, max_seconds, min_chars = limits.min_seconds, limits.max_seconds, limits.min_reason_chars
    return AnnotatorMetrics(
        annotator=name,
        votes=len(votes),
        gold=Share(sum(vote.label == gold[vote.item] for vote in tested), len(tested)),
        agreement=_agreement(votes, item_labels),
        first=Share(sum(first), len(first)),
        longer=Share(sum(longer), len(longer)),
        seconds=statistics.median(seconds) if seconds else None,
        too_fast=NO_CASES if min_seconds is None else Share(sum(s < min_seconds for s in seconds), len(seconds)),
        too_slow=NO_CASES if max_seconds is None else Share(sum(s > max_seconds for s in seconds), len(seconds)),
        short_reasons=NO_CASES
        if min_chars is None
        else Share(sum(len(reason) < min_chars for reason in reasons), len(reasons)),
        flagged=_share([vote.flagged for vote in votes]),
        accepted=_share([vote.accepted for vote in votes]),
    )


def _share(cases: Sequence[bool | None]) -> Share:
    """Count the true ones among the cases that are known."""
    known = [case for case in cases if case is not None]
    return Share(sum(known), len(known))


def _agreement(votes: Sequence[Vote], item_labels: Mapping[Hashable, Counter[Hashable]]) -> Agreement:
    """Compare an annotator's votes with those of the others on the same items; each vote weighs the same."""
    own: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
    for vote in votes:
        own[vote.item][vote.label] += 1
    own_labels: Counter[Hashable] = Counter()
    rest_labels: dict[Hashable, float] = defaultdict(float)  # sums of the others' shares
    agreeing, shared_votes = 0.0, 0
    for item, labels in own.items():
        rest = item_labels[item] - labels  # a Counter drops counts of 0
        if not (others := rest.total()):
            continue
        own_count = labels.total()
        shared_votes += own_count
        own_labels += labels
        agreeing += sum(count * rest[label] for label, count in labels.items()) / others
        for label, count in rest.items():
            rest_labels[label] += own_count * count / others
    if not shared_votes:
        return Agreement(0, None, None, None)
    observed = agreeing / shared_votes
    by_chance = sum(count * rest_labels[label] for label, count in own_labels.items()) / shared_votes**2
    # Chance agreement of 1, up to rounding: all votes are equal.
    kappa = None if by_chance > 1 - 1e-12 else (observed - by_chance) / (1 - by_chance)
    return Agreement(shared_votes, observed, by_chance, kappa)
