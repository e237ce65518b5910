"""Agreement of a project's annotators: of all, by category, and of each two of them.

Each annotator's latest vote on an item counts. Poor agreement of the whole group may be good in one category and
bad in another, or good between most annotators and bad with one of them.
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
from gnomon.stats.votes import Vote, in_order, latest


@dataclass(frozen=True, slots=True)
class PanelAgreement:
    """Agreement of a number of annotators.

    Attributes:
        items: with two votes or more.
        annotators: number of those who voted on one of these.
        percent: share of equal pairs of votes, item by item.
        fleiss, alpha, ac1: three chance-corrected coefficients; alpha by the given level.
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
        votes: of any number of annotators, in any order.
        level: how alpha takes the distance of two labels; labels are numbers unless it is nominal.
        labels: all possible labels, for AC1.
        seed: of alpha's bootstrap.

    Raises:
        DataError: the level needs numbers, and a label is none.
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
    """Measure the agreement within each category, by name; chance is that of the category.

    Args:
        votes: of any number of annotators, in any order.
        categories: of items; an item without one is in none.
        level: as for `panel_agreement`.
        labels: all possible labels, for AC1.
        seed: of the bootstrap.
    """
    groups: dict[str, dict[Hashable, list[Vote]]] = defaultdict(dict)
    for item, item_votes in _by_item(votes).items():
        if item in categories:
            groups[categories[item]][item] = item_votes
    return {name: _panel(groups[name], level, labels, seed) for name in sorted(groups)}


def _by_item(votes: Iterable[Vote]) -> dict[Hashable, list[Vote]]:
    """Latest votes of each item, in an order that does not depend on the order of `votes`."""
    by_item: dict[Hashable, list[Vote]] = defaultdict(list)
    for vote in latest(votes):
        by_item[vote.item].append(vote)
    return {item: by_item[item] for item in in_order(by_item)}


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
