"""Selection of the next prompts from a prompt bank: a mix of four parts, without near-duplicates.

- `random`: uniform over the bank.
- `edge`: edge cases; those with the fewest items come first.
- `high_value`: by `value / (1 + items)`, the highest first.
- `under_covered`: from the category with the fewest items, while it is below an even share of all items.

The parts are filled in this order: the random part draws from the whole bank, edge cases are few, and the last
part balances the categories. If a part runs out of prompts, the others share the rest of its quota.
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

NEAR_DUPLICATE = 0.7  # Jaccard similarity from which two prompts are near-duplicates
GRAM = 5  # columns of an n-gram

MixPart = Literal["random", "edge", "high_value", "under_covered"]
MIX_PARTS: tuple[MixPart, ...] = ("random", "edge", "high_value", "under_covered")
Turns = tuple[tuple[str, frozenset[str]], ...]
Name = TypeVar("Name", bound=str)


class PromptMix(Settings):
    """Shares of the parts of a selection; they add up to 1.

    Attributes:
        high_value: prompts with the highest expected benefit.
        under_covered: prompts of the categories with the fewest items.
        edge: adversarial and other hard cases.
        random: uniform draws, so that every prompt can be selected.
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
        """Return the share of each part, in the order in which they are filled."""
        return {part: float(getattr(self, part)) for part in MIX_PARTS}


@dataclass(frozen=True)
class SelectedPrompt:
    """A prompt that was selected, and the part of the mix that selected it."""

    prompt: BankPrompt
    part: MixPart


@dataclass(frozen=True)
class CategoryCoverage:
    """Coverage of a category: its numbers of prompts and items, and its share of all items."""

    category: str
    prompts: int
    items: int
    share: float


def select_prompts(
    prompts: Sequence[BankPrompt],
    count: int,
    mix: PromptMix,
    item_counts: Mapping[str, int],
    seed: int,
    *,
    max_items: int | None = None,
    near_duplicate: float = NEAR_DUPLICATE,
    earlier: Sequence[Prompt] = (),
) -> list[SelectedPrompt]:
    """Select prompts by a mix, part by part; fewer than `count` if the bank runs out of prompts.

    The result depends on the prompts and the seed, not on the order of the prompts.

    Args:
        prompts: the whole prompt bank.
        count: number of prompts to select.
        mix: share of each part; quotas are rounded by largest remainder.
        item_counts: number of items of each prompt, by its id; 0 by default.
        seed: seed of the random part and of the order among equals.
        max_items: prompts with at least this many items are left out; by default none are.
        near_duplicate: similarity in (0, 1] from which two prompts are near-duplicates, of which one is left out.
        earlier: prompts that were selected before; their near-duplicates are left out, and they themselves too.

    Raises:
        DataError: two prompts share an id, a value is not in [0, 1], or a number is out of its range.
    """
    if count < 0 or not 0 < near_duplicate <= 1:
        raise DataError(
            f"count is {count} and near_duplicate {near_duplicate}; pass at least 0 and a similarity in (0, 1]."
        )
    totals = Counter({row.category: row.items for row in coverage(prompts, item_counts)})
    bank = sorted(prompts, key=lambda entry: entry.prompt.id)
    random.Random(seed).shuffle(bank)  # the order among equals, since the sorts below are stable

    def items(entry: BankPrompt) -> int:
        return item_counts.get(entry.prompt.id, 0)

    eligible = [entry for entry in bank if max_items is None or items(entry) < max_items]
    by_items = sorted(eligible, key=items)
    selection = _Selection(near_duplicate, earlier)
    streams: dict[MixPart, Iterator[BankPrompt]] = {
        "random": iter(eligible),
        "edge": iter([entry for entry in by_items if entry.edge]),
        "high_value": iter(sorted(eligible, key=lambda entry: -entry.value / (1 + items(entry)))),
        "under_covered": _under_covered(by_items, totals, selection, count),
    }
    while len(selection.selected) < count and streams:
        shares = {part: share for part, share in mix.shares().items() if part in streams}
        if not any(shares.values()):  # all parts of the mix have run out: use the others
            shares = dict.fromkeys(shares, 1.0)
        for part, quota in apportion(count - len(selection.selected), shares).items():
            if selection.fill(part, streams[part], quota) < quota:
                del streams[part]
    return selection.selected


def coverage(prompts: Sequence[BankPrompt], item_counts: Mapping[str, int]) -> list[CategoryCoverage]:
    """Compute the coverage of each category of a prompt bank, those with the fewest items first.

    Args:
        prompts: the whole prompt bank.
        item_counts: number of items of each prompt, by its id; 0 by default.

    Raises:
        DataError: two prompts share an id, a value is not in [0, 1], or a count is negative or of an unknown
            prompt.
    """
    ids = {entry.prompt.id for entry in prompts}
    if len(ids) < len(prompts):
        raise DataError("two prompts of the bank share an id; give each its own.")
    for entry in prompts:
        if not 0 <= entry.value <= 1:
            raise DataError(f"prompt '{entry.prompt.id}' has the value {entry.value}; set one in [0, 1].")
    for name, items in item_counts.items():
        if name not in ids or items < 0:
            raise DataError(f"prompt '{name}' is not in the bank or has {items} items; correct the counts.")
    sizes = Counter(entry.category for entry in prompts)
    counts = Counter(dict.fromkeys(sizes, 0))
    for entry in prompts:
        counts[entry.category] += item_counts.get(entry.prompt.id, 0)
    total = max(1, sum(counts.values()))
    rows = [CategoryCoverage(name, sizes[name], counts[name], counts[name] / total) for name in sizes]
    return sorted(rows, key=lambda row: (row.items, row.category))


def apportion(count: int, shares: Mapping[Name, float]) -> dict[Name, int]:
    """Split `count` into whole numbers in proportion to the shares, by largest remainder."""
    total = sum(shares.values())
    exact = {name: round(count * share / total, 9) for name, share in shares.items()}  # 0.29·100 is 29
    quotas = {name: math.floor(number) for name, number in exact.items()}
    by_remainder = sorted(exact, key=lambda name: quotas[name] - exact[name])  # equals in the given order
    for name in by_remainder[: count - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def similarity(one: Prompt, other: Prompt) -> float:
    """Compute the similarity of two prompts, in [0, 1].

    It is the Jaccard similarity of the pair of turns that differ most. Turns are compared one by one, so that a
    common long system prompt or document does not make prompts similar. Prompts with different roles, or numbers
    of turns, have the similarity 0.
    """
    return _similarity(_turns(one), _turns(other))


class _Selection:
    """The selected prompts, without duplicates and near-duplicates."""

    def __init__(self, near_duplicate: float, earlier: Sequence[Prompt]):
        self.near_duplicate = near_duplicate
        self.selected: list[SelectedPrompt] = []
        self.categories: Counter[str] = Counter()
        self.turns: list[Turns] = [_turns(prompt) for prompt in earlier]
        self.examined = {prompt.id for prompt in earlier}  # also ids that were selected, or rejected

    def fill(self, part: MixPart, stream: Iterator[BankPrompt], quota: int) -> int:
        """Select prompts from a stream, and return their number.

        Args:
            part: part of the mix that the prompts are selected for.
            stream: prompts in order of preference; read no further than needed.
            quota: maximum number of prompts.
        """
        before = len(self.selected)
        while len(self.selected) < before + quota and (entry := next(stream, None)) is not None:
            if entry.prompt.id in self.examined:
                continue
            self.examined.add(entry.prompt.id)
            turns = _turns(entry.prompt)
            if not any(_similarity(turns, other) >= self.near_duplicate for other in self.turns):
                self.selected.append(SelectedPrompt(entry, part))
                self.categories[entry.category] += 1
                self.turns.append(turns)
        return len(self.selected) - before


def _under_covered(
    by_items: Sequence[BankPrompt], totals: Counter[str], selection: _Selection, count: int
) -> Iterator[BankPrompt]:
    """Yield prompts of the category with the fewest items, until each has an even share or no prompts left."""
    even = (sum(totals.values()) + count) / max(1, len(totals))
    left: dict[str, list[BankPrompt]] = {}
    for entry in reversed(by_items):
        left.setdefault(entry.category, []).append(entry)
    while left:
        name = min(left, key=lambda category: totals[category] + selection.categories[category])
        if totals[name] + selection.categories[name] >= even:
            return
        yield left[name].pop()
        if not left[name]:
            del left[name]


def _turns(prompt: Prompt) -> Turns:
    texts = ("\n".join((message.content, *message.tool_calls)) for message in prompt.messages)
    return tuple((m.role, _grams(text)) for m, text in zip(prompt.messages, texts, strict=True))


def _grams(text: str) -> frozenset[str]:
    """Split a text into n-grams of five columns, which needs no word boundaries.

    A Chinese character has about the information of two or three letters, so wide characters take two columns.
    The ends are padded, so that each column is in equally many n-grams, and short texts have n-grams too.
    """
    plain = normalized_text(unicodedata.normalize("NFKC", text))
    wide = "".join(c * 2 if unicodedata.east_asian_width(c) in "WF" else c for c in plain)
    padded = " " * (GRAM - 1) + wide + " " * (GRAM - 1)
    return frozenset(padded[start : start + GRAM] for start in range(len(padded) - GRAM + 1))


def _similarity(one: Turns, other: Turns) -> float:
    if [role for role, _ in one] != [role for role, _ in other]:
        return 0.0
    return min((_jaccard(a, b) for (_, a), (_, b) in zip(one, other, strict=True)), default=1.0)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
