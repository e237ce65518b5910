"""What each annotator did: how often right, how much like the others, with which leanings, how fast.

Every share comes with Wilson's 95% interval and the number of cases behind it. What has no cases is None.
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


@dataclass(frozen=True, slots=True)
class Agreement:
    """One annotator against the rest: the share of others, met on the same items, who said the same.

    Attributes:
        votes: the annotator's votes on items on which others voted too.
        observed: the mean share of the others who agree.
        by_chance: what it would be were the annotator's labels dealt to the items anew.
        kappa: (observed - by_chance) / (1 - by_chance); with one other annotator, J. Cohen's kappa (1960).
            None where all say the same everywhere: agreement is then no achievement and no failure.
    """

    votes: int
    observed: float | None
    by_chance: float | None
    kappa: float | None


@dataclass(frozen=True, slots=True)
class AnnotatorMetrics:
    """What one annotator did, in plain facts.

    Attributes:
        votes: how many there are.
        gold: right answers among the items with a known answer.
        agreement: with all others together.
        first: how often the answer shown first was chosen; ties are left out. Chance is 1/2 because the order
            is drawn by lot.
        longer: how often the longer answer was chosen; ties and equal lengths are left out. Not only a bias
            moves this from 1/2: compare it with the others'.
        seconds: median time of a vote.
        too_fast, too_slow: votes below and above the limits, among those with a time.
        short_reasons: reasons below the limit, among votes for which one was asked.
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


def annotator_metrics(
    votes: Iterable[Vote], gold: Mapping[Any, Hashable] | None = None, limits: Limits | None = None
) -> list[AnnotatorMetrics]:
    """What everybody did, by name.

    Args:
        votes: all votes of all annotators, in any order.
        gold: the right label of the items that have a known one.
        limits: what is too fast, too slow and too short; nothing is without them.
    """
    own: dict[str, list[Vote]] = defaultdict(list)
    said: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)  # of everybody, item by item
    for vote in votes:
        own[vote.annotator].append(vote)
        said[vote.item][vote.label] += 1
    return [_of_one(name, own[name], said, gold or {}, limits or Limits()) for name in sorted(own)]


def _of_one(
    name: str,
    votes: Sequence[Vote],
    said: Mapping[Hashable, Counter[Hashable]],
    gold: Mapping[Any, Hashable],
    limits: Limits,
) -> AnnotatorMetrics:
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
    min_seconds, max_seconds, shortest = limits.min_seconds, limits.max_seconds, limits.min_reason_chars
    nothing = Share(0, 0)
    return AnnotatorMetrics(
        annotator=name,
        votes=len(votes),
        gold=Share(sum(vote.label == gold[vote.item] for vote in tested), len(tested)),
        agreement=_agreement(votes, said),
        first=Share(sum(first), len(first)),
        longer=Share(sum(longer), len(longer)),
        seconds=statistics.median(seconds) if seconds else None,
        too_fast=nothing if min_seconds is None else Share(sum(s < min_seconds for s in seconds), len(seconds)),
        too_slow=nothing if max_seconds is None else Share(sum(s > max_seconds for s in seconds), len(seconds)),
        short_reasons=nothing
        if shortest is None
        else Share(sum(len(reason) < shortest for reason in reasons), len(reasons)),
    )


def _agreement(votes: Sequence[Vote], said: Mapping[Hashable, Counter[Hashable]]) -> Agreement:
    """One annotator's votes against those of the others on the same items; each vote counts the same."""
    mine: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
    for vote in votes:
        mine[vote.item][vote.label] += 1
    own_labels: Counter[Hashable] = Counter()
    rest_labels: dict[Hashable, float] = defaultdict(float)  # sums of the others' shares
    agreeing, met = 0.0, 0
    for item, labels in mine.items():
        rest = said[item] - labels  # a Counter drops what falls to 0
        if not (others := rest.total()):
            continue
        times = labels.total()
        met += times
        own_labels += labels
        agreeing += sum(count * rest[label] for label, count in labels.items()) / others
        for label, count in rest.items():
            rest_labels[label] += times * count / others
    if not met:
        return Agreement(0, None, None, None)
    observed = agreeing / met
    by_chance = sum(count * rest_labels[label] for label, count in own_labels.items()) / met**2
    # By chance always the same: all said one label. A little less than 1 is rounding.
    kappa = None if by_chance > 1 - 1e-12 else (observed - by_chance) / (1 - by_chance)
    return Agreement(met, observed, by_chance, kappa)
