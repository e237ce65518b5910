"""Items on which a minority that holds together sees it otherwise, so that its view is reported.

A single dissent may be a slip. A view is held by several at once, and by the same people again and again: two
annotators keep company if, on the items that both judged, they leave the majority for the same label often
enough, measured against how often either of them leaves it. Independent slips that happen with a chance d share
about d / (2 - d) of their places: a ninth for d = 1/5, less than the third that is asked for. On few items they
may share more, hard items draw slips together, and who copies from another keeps company with them too: this
finds what a person should look at, and proves nothing.
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
    """What some say of an item, and most do not.

    Attributes:
        majority: what most say of it.
        label: what the minority says.
        annotators: all who say so, by name.
        company: those of them who keep company with another of them, by name.
        voices: how many judged the item.
    """

    item: Hashable
    majority: Hashable
    label: Hashable
    annotators: tuple[str, ...]
    company: tuple[str, ...]
    voices: int

    @property
    def share(self) -> float:
        """The minority's part of all voices on the item."""
        return len(self.annotators) / self.voices


def minority_views(
    votes: Iterable[Vote],
    *,
    least_voices: int = 2,
    least_share: float = 0.2,
    least_together: int = 3,
    least_overlap: float = 1 / 3,
) -> list[MinorityView]:
    """The items on which a consistent minority holds another view, the largest minorities first.

    Everybody has one voice an item: their latest. An item on which two labels lead together has no majority, and
    so no minority: it is disputed.

    Args:
        votes: all votes of all annotators, in any order.
        least_voices: members of the minority that keep company with each other.
        least_share: of an item's voices that the minority has.
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
    voices = latest(votes)
    most = {item: label for item, label in majority(voices).items() if label is not None}
    said: dict[Hashable, dict[str, Hashable]] = defaultdict(dict)
    for voice in voices:
        if voice.item in most:
            said[voice.item][voice.annotator] = voice.label
    company = _company(said, most, least_together, least_overlap)
    found = []
    for item, by_whom in said.items():
        for label in in_order(set(by_whom.values()) - {most[item]}):
            members = sorted(who for who, theirs in by_whom.items() if theirs == label)
            close = tuple(who for who in members if company[who] & set(members))
            if len(close) >= least_voices and len(members) >= least_share * len(by_whom):
                found.append(MinorityView(item, most[item], label, tuple(members), close, len(by_whom)))
    place = {item: number for number, item in enumerate(in_order(said))}
    return sorted(found, key=lambda view: (-view.share, place[view.item]))


def _company(
    said: Mapping[Hashable, Mapping[str, Hashable]],
    most: Mapping[Hashable, Hashable],
    least_together: int,
    least_overlap: float,
) -> dict[str, set[str]]:
    """For each annotator, those with whom they leave the majority again and again."""
    together: dict[tuple[str, str], int] = defaultdict(int)
    either: dict[tuple[str, str], int] = defaultdict(int)
    for item, by_whom in said.items():
        for pair in combinations(sorted(by_whom), 2):
            one, other = by_whom[pair[0]], by_whom[pair[1]]
            if one != most[item] or other != most[item]:
                either[pair] += 1
                together[pair] += one == other
    company: dict[str, set[str]] = defaultdict(set)
    for (one_name, other_name), times in together.items():
        if times >= least_together and times >= least_overlap * either[one_name, other_name]:
            company[one_name].add(other_name)
            company[other_name].add(one_name)
    return company
