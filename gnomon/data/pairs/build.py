"""Preferences from comparisons: merged, without cycles, concluded, capped, balanced in length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.types import Preference
from gnomon.data.pairs.comparisons import Comparisons, comparisons_of
from gnomon.data.pairs.edges import EVEN, Edge, concluded, merged, without_cycles
from gnomon.data.pairs.settings import PairSettings
from gnomon.data.reading.counting import counted

RATIO_BINS = 10  # of the absolute logarithm of the ratio of lengths


@dataclass
class PairResult:
    """Preferences, and counts of what was left out.

    Attributes:
        preferences: the preferences, prompt by prompt.
        prompts: number of prompts with at least one comparison.
        comparisons: number of compared pairs of completions, after equal ones were merged.
        close: pairs of ratings with a difference below the least one.
        equal: comparisons of equal completions.
        ties: ties that were left out.
        cycles: removed comparisons, each as the prompt and both completions.
        concluded: preferences that were concluded, not compared.
        capped: preferences beyond the most of a prompt.
        unbalanced: preferences left out to balance lengths.
        longer_chosen: share of preferences whose longer side is chosen, before and after balancing; `None`
            without sides of different length.
    """

    preferences: list[Preference] = field(default_factory=list)
    prompts: int = 0
    comparisons: int = 0
    close: int = 0
    equal: int = 0
    ties: int = 0
    cycles: list[dict[str, str]] = field(default_factory=list)
    concluded: int = 0
    capped: int = 0
    unbalanced: int = 0
    longer_chosen: tuple[float | None, float | None] = (None, None)

    def counts(self) -> dict[str, Any]:
        """The counts as a JSON object."""
        before, after = self.longer_chosen
        return {
            "preferences": len(self.preferences),
            "prompts": self.prompts,
            "comparisons": self.comparisons,
            "close": self.close,
            "equal": self.equal,
            "ties": self.ties,
            "cycles": self.cycles,
            "concluded": self.concluded,
            "capped": self.capped,
            "unbalanced": self.unbalanced,
            "longer_chosen": {"before": before, "after": after},
        }

    def reasons(self) -> str:
        """The reasons for which comparisons were left out, each with its number."""
        parts = {
            "too close": self.close,
            "of equal completions": self.equal,
            "tie" if self.ties == 1 else "ties": self.ties,
            "in cycles": len(self.cycles),
            "beyond the most of a prompt": self.capped,
            "to balance lengths": self.unbalanced,
        }
        return ", ".join(f"{count:,} {reason}" for reason, count in parts.items() if count)

    def sentence(self, out: Path) -> str:
        """The result in words.

        Args:
            out: the file of the preferences.
        """
        before, after = self.longer_chosen
        preferences = counted(len(self.preferences), "preferences")
        lines = [f"{preferences} of {counted(self.prompts, 'prompts')} in {out}"]
        if self.concluded:
            lines.append(f"of them concluded from chains: {self.concluded:,}")
        if reasons := self.reasons():
            lines.append(f"left out: {reasons}")
        if before is not None and after is not None:
            balanced = f", {after:.1%} after balancing" if self.unbalanced else ""
            lines.append(f"longer side chosen: {before:.1%}{balanced}")
        return "\n".join(lines)


def make_pairs(records: Sequence[Any], settings: PairSettings) -> PairResult:
    """Make preferences of records of one kind.

    Args:
        records: preferences, rankings, labels, or rated texts with prompts.
        settings: how they are made.

    Raises:
        DataError: the records compare nothing.
    """
    result = PairResult()
    for group in comparisons_of(records, settings):
        _add_group(result, group, settings)
    before = share_longer_chosen(result.preferences)
    if settings.balance_length:
        balanced = balanced_in_length(result.preferences, settings.seed)
        result.unbalanced = len(result.preferences) - len(balanced)
        result.preferences = balanced
    result.longer_chosen = before, share_longer_chosen(result.preferences)
    return result


def _add_group(result: PairResult, group: Comparisons, settings: PairSettings) -> None:
    """Add the preferences of one prompt."""
    edges = merged(group.edges)
    result.prompts += bool(edges)
    result.comparisons += len(edges)
    result.close += group.close
    result.equal += group.equal
    edges, removed = without_cycles(edges)
    result.cycles += [_removed(group, edge) for edge in removed]
    if settings.closure:
        more = concluded(edges, settings.closure_factor, removed)
        result.concluded += len(more)
        edges += more
    if settings.ties == "drop":
        decided = [edge for edge in edges if edge.strength > EVEN]
        result.ties += len(edges) - len(decided)
        edges = decided
    if settings.max_per_prompt and len(edges) > settings.max_per_prompt:
        result.capped += len(edges) - settings.max_per_prompt
        strongest = sorted(range(len(edges)), key=lambda n: (-edges[n].weight, -edges[n].probability, n))
        edges = [edges[n] for n in sorted(strongest[: settings.max_per_prompt])]
    result.preferences += [
        Preference(
            group.prompt,
            group.completions[edge.better],
            group.completions[edge.worse],
            probability=edge.probability,
            margin=edge.margin,
            weight=edge.weight,
            tie=edge.tie,
        )
        for edge in edges
    ]


def _removed(group: Comparisons, edge: Edge) -> dict[str, str]:
    prompt = group.prompt
    return {
        "where": prompt.where,
        "prompt": prompt.messages[-1].content,
        "better": group.completions[edge.better].text,
        "worse": group.completions[edge.worse].text,
    }


def share_longer_chosen(preferences: Sequence[Preference]) -> float | None:
    """Return the share of preferences whose chosen side is longer, of those with sides of different length."""
    gaps = [gap for one in preferences if one.probability > 0.5 and (gap := _length_gap(one))]
    return sum(gap > 0 for gap in gaps) / len(gaps) if gaps else None


def balanced_in_length(preferences: Sequence[Preference], seed: int) -> list[Preference]:
    """Leave preferences out at random until the longer side is chosen in half of them, at each ratio of lengths.

    The absolute logarithm of the ratio of lengths is cut into `RATIO_BINS` bins of about the same size. In each,
    the more frequent direction loses preferences at random. Ties and sides of equal length all stay.

    Args:
        preferences: the preferences; their order is kept.
        seed: of the choice.
    """
    gaps = np.array([_length_gap(one) if one.probability > 0.5 else 0.0 for one in preferences])
    uneven = np.flatnonzero(gaps)
    if not uneven.size:
        return list(preferences)
    sizes = np.abs(gaps[uneven])
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, RATIO_BINS + 1)[1:-1]))
    bins: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for index, number in zip(uneven, np.searchsorted(edges, sizes, side="right"), strict=True):
        bins[int(number)][int(gaps[index] > 0)].append(int(index))
    rng = np.random.default_rng(seed)
    left_out: set[int] = set()
    for number in sorted(bins):
        few, many = sorted(bins[number], key=len)
        left_out |= set(rng.permutation(many)[: len(many) - len(few)].tolist())
    return [one for index, one in enumerate(preferences) if index not in left_out]


def _length_gap(preference: Preference) -> float:
    """The logarithm of the ratio of the lengths of both sides in characters, positive if chosen is longer."""
    return log((len(preference.chosen.text) + 1) / (len(preference.rejected.text) + 1))
