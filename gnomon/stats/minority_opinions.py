"""Items on which a consistent minority disagrees with the majority.

A single dissent may be a slip. A view is held by several annotators on several items: two annotators are allies
if, on the items that both judged, they choose the same label against the majority often enough, relative to the
items on which either dissents. Independent slips with a probability d coincide on about d / (2 - d) of these
items: a ninth for d = 1/5, below the default threshold of a third. Slips coincide more often where there are few
items or the items are hard, and an annotator who copies from another is their ally too. So the result lists items
that a person should look at, and proves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from gnomon.core.errors import ConfigError
from gnomon.stats.dawid_skene import majority
from gnomon.stats.votes import Vote, latest, sorted_distinct


@dataclass(frozen=True, slots=True)
class MinorityView:
    """An item's label by a consistent minority.

    Attributes:
        item: key of the item.
        majority: label of the majority.
        label: label of the minority.
        annotators: names of all annotators with that label.
        company: names of those of them who have an ally among them.
        votes: number of annotators who judged the item.
    """

    item: Hashable
    majority: Hashable
    label: Hashable
    annotators: tuple[str, ...]
    company: tuple[str, ...]
    votes: int

    @property
    def share(self) -> float:
        """Share of the item's votes that are the minority's."""
        return len(self.annotators) / self.votes


def minority_views(
    votes: Iterable[Vote],
    *,
    min_members: int = 2,
    min_share: float = 0.2,
    min_shared_items: int = 3,
    min_overlap: float = 1 / 3,
) -> list[MinorityView]:
    """Find the items on which a consistent minority disagrees, the largest minorities first.

    Each annotator's latest vote on an item counts. An item with a tie has no majority, and so no minority.

    Args:
        votes: all votes of all annotators, in any order.
        min_members: minimum number of members of the minority who have an ally in it.
        min_share: minimum share of the item's votes that are the minority's.
        min_shared_items: minimum number of items on which two allies chose one label against the majority.
        min_overlap: minimum share that these are of the items that both judged and on which either dissented.

    Raises:
        ConfigError: a threshold is out of its range.
    """
    if min_members < 2 or min_shared_items < 1:
        raise ConfigError(
            f"min_members is {min_members} and min_shared_items {min_shared_items}; "
            "raise them to at least 2 and at least 1."
        )
    if not (0 <= min_share <= 1 and 0 <= min_overlap <= 1):
        raise ConfigError(
            f"min_share is {min_share} and min_overlap {min_overlap}; both are shares, pass numbers from 0 to 1."
        )
    latest_votes = latest(votes)
    majorities = {item: label for item, label in majority(latest_votes).items() if label is not None}
    labels: dict[Hashable, dict[str, Hashable]] = defaultdict(dict)
    for vote in latest_votes:
        if vote.item in majorities:
            labels[vote.item][vote.annotator] = vote.label
    allies = _allies(labels, majorities, min_shared_items, min_overlap)
    views = []
    for item, by_annotator in labels.items():
        for label in sorted_distinct(set(by_annotator.values()) - {majorities[item]}):
            members = sorted(annotator for annotator, own_label in by_annotator.items() if own_label == label)
            company = tuple(annotator for annotator in members if allies[annotator] & set(members))
            if len(company) >= min_members and len(members) >= min_share * len(by_annotator):
                views.append(
                    MinorityView(item, majorities[item], label, tuple(members), company, len(by_annotator))
                )
    rank = {item: number for number, item in enumerate(sorted_distinct(labels))}
    return sorted(views, key=lambda view: (-view.share, rank[view.item]))


def _allies(
    labels: Mapping[Hashable, Mapping[str, Hashable]],
    majorities: Mapping[Hashable, Hashable],
    min_shared_items: int,
    min_overlap: float,
) -> dict[str, set[str]]:
    """Map each annotator to the names of those with whom they often choose one label against the majority."""
    shared: dict[tuple[str, str], int] = defaultdict(int)
    either: dict[tuple[str, str], int] = defaultdict(int)
    for item, by_annotator in labels.items():
        for pair in combinations(sorted(by_annotator), 2):
            first, second = by_annotator[pair[0]], by_annotator[pair[1]]
            if first != majorities[item] or second != majorities[item]:
                either[pair] += 1
                shared[pair] += first == second
    allies: dict[str, set[str]] = defaultdict(set)
    for (first_name, second_name), items in shared.items():
        if items >= min_shared_items and items >= min_overlap * either[first_name, second_name]:
            allies[first_name].add(second_name)
            allies[second_name].add(first_name)
    return allies
