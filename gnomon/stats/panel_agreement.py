"""How far a project's annotators agree: all together, by category, and each two of them.

Everybody has one voice an item, their latest. What is poor for the group as a whole may be good in one category
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
from gnomon.stats.votes import Vote, in_order, latest


@dataclass(frozen=True, slots=True)
class PanelAgreement:
    """How far a number of annotators agree.

    Attributes:
        items: with two voices or more.
        annotators: who had a voice on one of these.
        percent: share of equal pairs of voices, item by item.
        fleiss, alpha, ac1: the same with chance taken out, in three ways; alpha by the level asked for.
    """

    items: int
    annotators: int
    percent: Estimate
    fleiss: Estimate
    alpha: Estimate
    ac1: Estimate


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """How far two annotators agree on the items that both judged; `kappa` knows how many these are."""

    percent: Estimate
    kappa: Kappa


def panel_agreement(
    votes: Iterable[Vote],
    level: Level = "nominal",
    *,
    labels: Collection[Hashable] | None = None,
    seed: int = 0,
) -> PanelAgreement:
    """All annotators together.

    Args:
        votes: of any number of annotators, in any order.
        level: how alpha takes the distance of two labels; labels are numbers unless it is nominal.
        labels: all that could be said, for AC1.
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
    """The same for each category by itself, by name; chance is that of the category.

    Args:
        votes: of any number of annotators, in any order.
        categories: of items; an item without one is in none.
        level: as for `panel_agreement`; so are the others.
        labels: all that could be said.
        seed: of the bootstrap.
    """
    groups: dict[str, dict[Hashable, list[Vote]]] = defaultdict(dict)
    for item, voices in _by_item(votes).items():
        if item in categories:
            groups[categories[item]][item] = voices
    return {name: _panel(groups[name], level, labels, seed) for name in sorted(groups)}


def _by_item(votes: Iterable[Vote]) -> dict[Hashable, list[Vote]]:
    """One voice a person for each item, in an order that the order of the votes does not change."""
    found: dict[Hashable, list[Vote]] = defaultdict(list)
    for vote in latest(votes):
        found[vote.item].append(vote)
    return {item: found[item] for item in in_order(found)}


def _panel(
    voices: Mapping[Hashable, Sequence[Vote]], level: Level, labels: Collection[Hashable] | None, seed: int
) -> PanelAgreement:
    units = [[vote.label for vote in found] for found in voices.values()]
    compared = [found for found in voices.values() if len(found) >= 2]
    return PanelAgreement(
        items=len(compared),
        annotators=len({vote.annotator for found in compared for vote in found}),
        percent=percent_agreement(units),
        fleiss=fleiss_kappa(units),
        alpha=krippendorff_alpha(units, level, seed),
        ac1=gwet_ac1(units, labels),
    )
