"""Which prompts of the bank are asked next: a mix of four parts, no two of them nearly the same.

- `random`: uniform over the bank, whatever else is known of a prompt.
- `edge`: the cases that were written to be hard; those asked least come first.
- `high_value`: by `value / (1 + times asked)`, the highest first.
- `under_covered`: from the category asked least, while it is below an even share of all that was asked.

The parts are filled in this order: the random one draws from the whole bank, edge cases are few, and the last
evens out what the others left uneven. What a part cannot fill is shared out among the others.
"""

from __future__ import annotations

import math
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeVar

from pydantic import model_validator

from gnomon.core.config import Settings
from gnomon.core.errors import DataError
from gnomon.core.ranges import Share
from gnomon.core.types import Prompt
from gnomon.data.splits import normalized_text
from gnomon.feedback.store.store import BankPrompt

ALIKE = 0.7  # Jaccard similarity from which two turns are nearly the same
GRAM = 5  # columns of a gram

MixPart = Literal["random", "edge", "high_value", "under_covered"]
MIX_PARTS: tuple[MixPart, ...] = ("random", "edge", "high_value", "under_covered")
Turns = tuple[tuple[str, frozenset[str]], ...]
Name = TypeVar("Name", bound=str)


class PromptMix(Settings):
    """The shares of a selection; they add up to 1.

    Attributes:
        high_value: prompts of which most is learnt.
        under_covered: prompts of the categories asked least.
        edge: adversarial and other hard cases.
        random: drawn uniformly, so that nothing is out of reach.
    """

    high_value: Share = 0.4
    under_covered: Share = 0.3
    edge: Share = 0.2
    random: Share = 0.1

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = sum(self.shares().values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares {', '.join(MIX_PARTS)} add up to {total:.6g}; make it 1")
        return self

    def shares(self) -> dict[MixPart, float]:
        """The share of each part, in the order in which they are filled."""
        return {part: float(getattr(self, part)) for part in MIX_PARTS}


@dataclass(frozen=True)
class SelectedPrompt:
    """A prompt that was selected, and the part of the mix that selected it."""

    prompt: BankPrompt
    part: MixPart


@dataclass(frozen=True)
class CategoryCoverage:
    """A category: its prompts in the bank, how often they were asked, and its share of all that was asked."""

    category: str
    prompts: int
    asked: int
    share: float


def select_prompts(
    prompts: Sequence[BankPrompt],
    count: int,
    mix: PromptMix,
    asked: Mapping[str, int],
    seed: int,
    *,
    most: int | None = None,
    alike: float = ALIKE,
) -> list[SelectedPrompt]:
    """Select prompts by a mix, part by part; fewer than `count` where the bank has no more.

    The outcome depends on the prompts and the seed, not on the order of the prompts.

    Args:
        prompts: the whole bank.
        count: how many to select.
        mix: the share of each part; rounded by largest remainder.
        asked: how often each prompt was asked before, by its id; one that is not named was never asked.
        seed: of the random part, and of the order among equals.
        most: prompts asked that often are left out; `None` leaves none out.
        alike: from this similarity on, in (0, 1], two prompts are near-duplicates, and one is left out.

    Raises:
        DataError: two prompts share an id, a value is not in [0, 1], or a number makes no sense.
    """
    if count < 0 or not 0 < alike <= 1:
        raise DataError(f"a selection needs a count of at least 0 and alike in (0, 1], not {count} and {alike}.")
    totals = Counter({row.category: row.asked for row in coverage(prompts, asked)})
    bank = sorted(prompts, key=lambda one: one.prompt.id)
    random.Random(seed).shuffle(bank)  # the sorts below are stable: this is the order among equals
    free = [one for one in bank if most is None or _times(one, asked) < most]
    least = sorted(free, key=lambda one: _times(one, asked))
    chosen = _Chosen(alike)
    streams: dict[MixPart, Iterator[BankPrompt]] = {
        "random": iter(free),
        "edge": iter([one for one in least if one.edge]),
        "high_value": iter(sorted(free, key=lambda one: -one.value / (1 + _times(one, asked)))),
        "under_covered": _under_covered(least, totals, chosen, count),
    }
    while len(chosen.picked) < count and streams:
        shares = {part: share for part, share in mix.shares().items() if part in streams}
        if not any(shares.values()):  # none that the user wanted has more to give
            shares = dict.fromkeys(shares, 1.0)
        for part, quota in apportion(count - len(chosen.picked), shares).items():
            if chosen.fill(part, streams[part], quota) < quota:
                del streams[part]
    return chosen.picked


def coverage(prompts: Sequence[BankPrompt], asked: Mapping[str, int]) -> list[CategoryCoverage]:
    """A row for each category of the bank, the least asked first; `asked` counts by prompt id.

    Raises:
        DataError: two prompts share an id, a value is not in [0, 1], or a count is of no prompt or negative.
    """
    held = {one.prompt.id for one in prompts}
    if len(held) < len(prompts):
        raise DataError("two prompts of the bank share an id; give each its own.")
    for one in prompts:
        if not 0 <= one.value <= 1:
            raise DataError(f"prompt '{one.prompt.id}': its value must be in [0, 1], not {one.value}; mend it.")
    for name, times in asked.items():
        if name not in held or times < 0:
            raise DataError(f"prompt '{name}' is not in the bank or was asked {times} times; mend the counts.")
    sizes = Counter(one.category for one in prompts)
    counts = Counter(dict.fromkeys(sizes, 0))
    for one in prompts:
        counts[one.category] += _times(one, asked)
    total = max(1, sum(counts.values()))
    rows = [CategoryCoverage(name, sizes[name], counts[name], counts[name] / total) for name in sizes]
    return sorted(rows, key=lambda row: (row.asked, row.category))


def apportion(count: int, shares: Mapping[Name, float]) -> dict[Name, int]:
    """Whole numbers that add up to `count`, in proportion to the shares, by largest remainder."""
    total = sum(shares.values())
    exact = {name: round(count * share / total, 9) for name, share in shares.items()}  # 0.29·100 is 29
    found = {name: math.floor(number) for name, number in exact.items()}
    by_remainder = sorted(exact, key=lambda name: found[name] - exact[name])  # among equals the first named
    for name in by_remainder[: count - sum(found.values())]:
        found[name] += 1
    return found


def similarity(one: Prompt, other: Prompt) -> float:
    """How alike two prompts are, in [0, 1]: the Jaccard similarity of the two turns that differ most.

    Turn is compared with turn, so that a long system prompt or document that two prompts share does not make
    them equal. Prompts with other roles, or other numbers of turns, are not alike at all.
    """
    return _similarity(_turns(one), _turns(other))


class _Chosen:
    """What is chosen so far: no prompt twice, and none that is nearly another."""

    def __init__(self, alike: float):
        self.alike = alike
        self.picked: list[SelectedPrompt] = []
        self.categories: Counter[str] = Counter()
        self.turns: list[Turns] = []
        self.looked_at: set[str] = set()  # chosen, or too near to one that is

    def fill(self, part: MixPart, stream: Iterator[BankPrompt], quota: int) -> int:
        """Take up to `quota` prompts from a stream, no further than needed; returns how many."""
        before = len(self.picked)
        while len(self.picked) < before + quota and (one := next(stream, None)) is not None:
            if one.prompt.id in self.looked_at:
                continue
            self.looked_at.add(one.prompt.id)
            turns = _turns(one.prompt)
            if not any(_similarity(turns, other) >= self.alike for other in self.turns):
                self.picked.append(SelectedPrompt(one, part))
                self.categories[one.category] += 1
                self.turns.append(turns)
        return len(self.picked) - before


def _under_covered(
    least: Sequence[BankPrompt], totals: Counter[str], chosen: _Chosen, count: int
) -> Iterator[BankPrompt]:
    """Prompts of whichever category is asked least by now, until each has an even share of all, or no prompts."""
    even = (sum(totals.values()) + count) / max(1, len(totals))
    left: dict[str, list[BankPrompt]] = {}
    for one in reversed(least):
        left.setdefault(one.category, []).append(one)
    while left:
        name = min(left, key=lambda category: totals[category] + chosen.categories[category])
        if totals[name] + chosen.categories[name] >= even:
            return
        yield left[name].pop()
        if not left[name]:
            del left[name]


def _times(one: BankPrompt, asked: Mapping[str, int]) -> int:
    return asked.get(one.prompt.id, 0)


def _turns(prompt: Prompt) -> Turns:
    return tuple((message.role, _grams(message.content)) for message in prompt.messages)


def _grams(text: str) -> frozenset[str]:
    """The runs of five columns of a text, which works without words.

    A Chinese character says about as much as two or three letters, so wide characters take two columns. The ends
    are padded: what stands there weighs as much as what stands in the middle, and short texts have grams too.
    """
    plain = normalized_text(unicodedata.normalize("NFKC", text))
    wide = "".join(c * 2 if unicodedata.east_asian_width(c) in "WF" else c for c in plain)
    padded = " " * (GRAM - 1) + wide + " " * (GRAM - 1)
    return frozenset(padded[place : place + GRAM] for place in range(len(padded) - GRAM + 1))


def _similarity(one: Turns, other: Turns) -> float:
    if [role for role, _ in one] != [role for role, _ in other]:
        return 0.0
    return min((_jaccard(a, b) for (_, a), (_, b) in zip(one, other, strict=True)), default=1.0)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
