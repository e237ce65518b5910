"""Items on which a consistent minority disagrees with the majority, so that its view is reported.

A single dissent may be a slip. A view is held by several annotators on several items: two annotators keep company
if, on the items that both judged, they leave the majority for the same label often enough, relative to how often
either of them leaves it. Independent slips with a probability d coincide on about d / (2 - d) of their items: a
ninth for d = 1/5, less than the default of a third. On few items they may coincide more often, hard items draw
slips together, and an annotator who copies from another keeps company with them too: this finds items that a
person should look at, and proves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from gnomon.core.errors import ConfigError
from gnomon.stats.dawid_skene import majority
from gnomon.stats.votes import Vote, in_order, latest


@dataclass(frozen=True, slots=True)
class MinorityView:
    """A minority's label of an item.

    Attributes:
        majority: label of the majority.
        label: label of the minority.
        annotators: names of all who gave it.
        company: names of those of them who keep company with another of them.
        voices: number of annotators who judged the item.
    """

    item: Hashable
    majority: Hashable
    label: Hashable
    annotators: tuple[str, ...]
    company: tuple[str, ...]
    voices: int

    @property
    def share(self) -> float:
        """The minority's share of the item's votes."""
        return len(self.annotators) / self.voices


def minority_views(
    votes: Iterable[Vote],
    *,
    least_voices: int = 2,
    least_share: float = 0.2,
    least_together: int = 3,
    least_overlap: float = 1 / 3,
) -> list[MinorityView]:
    """Find the items on which a consistent minority holds another view, the largest minorities first.

    Each annotator's latest vote on an item counts. An item with a tie has no majority, and so no minority.

    Args:
        votes: all votes of all annotators, in any order.
        least_voices: members of the minority that keep company with each other.
        least_share: of an item's votes that the minority has.
        least_together: items on which two annotators left the majority for the same label.
        least_overlap: these as a part of the items judged by both on which at least one left it.

    Raises:
        ConfigError: a number is out of its range.
    """
    if least_voices < 2 or least_together < 1:
        raise ConfigError(
            "a minority view needs two voices or more, together on one item or more; raise the numbers."
        )
    if not (0 <= least_share <= 1 and 0 <= least_overlap <= 1):
        raise ConfigError("least_share and least_overlap of a minority are shares; give numbers from 0 to 1.")
    latest_votes = latest(votes)
    most = {item: label for item, label in majority(latest_votes).items() if label is not None}
    labels: dict[Hashable, dict[str, Hashable]] = defaultdict(dict)
    for vote in latest_votes:
        if vote.item in most:
            labels[vote.item][vote.annotator] = vote.label
    company = _company(labels, most, least_together, least_overlap)
    views = []
    for item, by_annotator in labels.items():
        for label in in_order(set(by_annotator.values()) - {most[item]}):
            members = sorted(annotator for annotator, given in by_annotator.items() if given == label)
            close = tuple(annotator for annotator in members if company[annotator] & set(members))
            if len(close) >= least_voices and len(members) >= least_share * len(by_annotator):
                views.append(MinorityView(item, most[item], label, tuple(members), close, len(by_annotator)))
    rank = {item: number for number, item in enumerate(in_order(labels))}
    return sorted(views, key=lambda view: (-view.share, rank[view.item]))


def _company(
    labels: Mapping[Hashable, Mapping[str, Hashable]],
    most: Mapping[Hashable, Hashable],
    least_together: int,
    least_overlap: float,
) -> dict[str, set[str]]:
    """For each annotator, the names of those with whom they often leave the majority."""
    together: dict[tuple[str, str], int] = defaultdict(int)
    either: dict[tuple[str, str], int] = defaultdict(int)
    for item, by_annotator in labels.items():
        for pair in combinations(sorted(by_annotator), 2):
            one, other = by_annotator[pair[0]], by_annotator[pair[1]]
            if one != most[item] or other != most[item]:
                either[pair] += 1
                together[pair] += one == other
    company: dict[str, set[str]] = defaultdict(set)
    for (one_name, other_name), times in together.items():
        if times >= least_together and times >= least_overlap * either[one_name, other_name]:
            company[one_name].add(other_name)
            company[other_name].add(one_name)
    return company
