"""Agreement of a project's annotators: of all together, by category, and of each pair of annotators.

Each annotator's latest vote on an item counts. Where overall agreement is poor, it may be good in one category
and bad in another, or good between most annotators and bad with one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.stats.agreement import (
    Kappa,
    Level,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    percent_agreement,
)
from gnomon.stats.intervals import Estimate
from gnomon.stats.votes import Vote, latest, sorted_distinct


@dataclass(frozen=True, slots=True)
class PanelAgreement:
    """Agreement of a number of annotators.

    Attributes:
        items: number of items with two votes or more.
        annotators: number of annotators who voted on one of these items.
        percent: mean over items of the share of equal pairs of votes.
        fleiss, alpha, ac1: chance-corrected coefficients; alpha at the level passed to `panel_agreement`.
    """

    items: int
    annotators: int
    percent: Estimate
    fleiss: Estimate
    alpha: Estimate
    ac1: Estimate


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Agreement of two annotators on the items that both judged; `kappa.items` is their number."""

    percent: Estimate
    kappa: Kappa


def panel_agreement(
    votes: Iterable[Vote],
    level: Level = "nominal",
    *,
    labels: Collection[Hashable] | None = None,
    seed: int = 0,
) -> PanelAgreement:
    """Measure the agreement of all annotators.

    Args:
        votes: all votes, in any order.
        level: distance of two labels in alpha; labels must be numbers unless it is nominal.
        labels: all possible labels, for AC1.
        seed: seed of alpha's bootstrap.

    Raises:
        DataError: the level needs numbers, and a label is not one.
    """
    return _panel(_by_item(votes), level, labels, seed)


def agreement_by_category(
    votes: Iterable[Vote],
    categories: Mapping[Any, str],
    level: Level = "nominal",
    *,
    labels: Collection[Hashable] | None = None,
    seed: int = 0,
) -> dict[str, PanelAgreement]:
    """Measure the agreement within each category, by name; chance agreement is that of the category.

    Args:
        votes: all votes, in any order.
        categories: category of each item; items without one are left out.
        level: as for `panel_agreement`.
        labels: all possible labels, for AC1.
        seed: seed of alpha's bootstrap.
    """
    groups: dict[str, dict[Hashable, list[Vote]]] = defaultdict(dict)
    for item, item_votes in _by_item(votes).items():
        if item in categories:
            groups[categories[item]][item] = item_votes
    return {name: _panel(groups[name], level, labels, seed) for name in sorted(groups)}


def _by_item(votes: Iterable[Vote]) -> dict[Hashable, list[Vote]]:
    """Group the latest votes by item, in an order that does not depend on the order of `votes`."""
    by_item: dict[Hashable, list[Vote]] = defaultdict(list)
    for vote in latest(votes):
        by_item[vote.item].append(vote)
    return {item: by_item[item] for item in sorted_distinct(by_item)}


def _panel(
    by_item: Mapping[Hashable, Sequence[Vote]], level: Level, labels: Collection[Hashable] | None, seed: int
) -> PanelAgreement:
    units = [[vote.label for vote in votes] for votes in by_item.values()]
    compared = [votes for votes in by_item.values() if len(votes) >= 2]
    return PanelAgreement(
        items=len(compared),
        annotators=len({vote.annotator for votes in compared for vote in votes}),
        percent=percent_agreement(units),
        fleiss=fleiss_kappa(units),
        alpha=krippendorff_alpha(units, level, seed),
        ac1=gwet_ac1(units, labels),
    )
