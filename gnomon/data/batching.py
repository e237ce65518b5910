"""Examples to batches that fit a token budget: what is shared, and what a loss divides by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from gnomon.core.batches import Demonstrations, Labels, Preferences, Rankings, StepTotals, TokenGroups
from gnomon.core.lazy import torch
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.data.encoding import Example


def totals_of(examples: Sequence[Example]) -> StepTotals:
    """What a step over `examples` divides by: rows, tokens that the policy chooses, and examples."""
    tokens = sum(e.completion_tokens for e in examples)
    return StepTotals(sum(e.rows for e in examples), tokens, examples=len(examples))


def token_groups(examples: Sequence[Example]) -> TokenGroups:
    """Examples with the same prompt share it; their completions keep their order."""
    keys = {e.prompt_id: e.prompt for e in examples}
    assert all(keys[e.prompt_id] == e.prompt for e in examples), "a prompt id stands for one prompt"
    index = {key: i for i, key in enumerate(keys)}
    return TokenGroups.build(
        prompts=list(keys.values()),
        completions=[c for e in examples for c in e.completions],
        group=[index[e.prompt_id] for e in examples for _ in e.completions],
        masks=[m for e in examples for m in e.masks or [[True] * len(c) for c in e.completions]],
    )


def collate_demonstrations(examples: Sequence[Example], totals: StepTotals) -> Demonstrations:
    """A batch of demonstrations."""
    return Demonstrations(token_groups(examples), _weights(examples), totals)


def collate_labels(examples: Sequence[Example], totals: StepTotals) -> Labels:
    """A batch of labelled completions, in the order of the examples."""
    good = torch.tensor([bool(e.good) for e in examples])
    return Labels(token_groups(examples), good, _weights(examples), totals)


def collate_preferences(examples: Sequence[Example], totals: StepTotals) -> Preferences:
    """A batch of pairs over the distinct completions of each prompt."""
    placed = [(start, pair) for start, e in zip(_starts(examples), examples, strict=True) for pair in e.pairs]
    return Preferences(
        tokens=token_groups(examples),
        chosen=torch.tensor([start + pair.chosen for start, pair in placed]),
        rejected=torch.tensor([start + pair.rejected for start, pair in placed]),
        probability=torch.tensor([pair.probability for _, pair in placed]),
        margin=torch.tensor([pair.margin for _, pair in placed]),
        weight=torch.tensor([pair.weight for _, pair in placed]),
        totals=totals,
        share=torch.tensor([1 / len(e.pairs) for e in examples for _ in e.pairs]),
    )


def collate_rankings(examples: Sequence[Example], totals: StepTotals) -> Rankings:
    """A batch of rankings over the distinct completions of each prompt."""
    placed = [
        (start, order) for start, e in zip(_starts(examples), examples, strict=True) for order in e.rankings
    ]
    return Rankings(
        tokens=token_groups(examples),
        order=tuple(torch.tensor([start + row for row in ranking.rows]) for start, ranking in placed),
        weight=torch.tensor([ranking.weight for _, ranking in placed]),
        totals=totals,
    )


def _weights(examples: Sequence[Example]) -> torch.Tensor:
    return torch.tensor([e.weight for e in examples])


def _starts(examples: Sequence[Example]) -> list[int]:
    """The row of each example's first completion."""
    return list(accumulate((len(e.completions) for e in examples[:-1]), initial=0))


COLLATE: dict[type, Callable[[Sequence[Example], StepTotals], Any]] = {
    Demonstration: collate_demonstrations,
    Preference: collate_preferences,
    Label: collate_labels,
    Ranking: collate_rankings,
}


def pack_by_tokens(costs: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut items into micro-batches of at most `budget` tokens, similar lengths together, longest first.

    An item dearer than the budget goes alone.
    """
    current: list[int] = []
    spent = 0
    for item in sorted(range(len(costs)), key=lambda i: -costs[i]):
        if current and spent + costs[item] > budget:
            yield current
            current, spent = [], 0
        current.append(item)
        spent += costs[item]
    if current:
        yield current


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """A permutation of `count` items that depends on nothing but its arguments."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**64)  # torch takes 64 bits
    return torch.randperm(count, generator=generator).tolist()


def micro_batches(tokens: TokenGroups, budget: int) -> list[list[int]]:
    """Rows within the token budget; completions of one prompt stay together, so it is read once."""
    members: dict[int, list[int]] = {}
    for row, g in enumerate(tokens.group.tolist()):
        members.setdefault(g, []).append(row)
    groups = list(members.items())
    costs = [len(tokens.prompts[g]) + sum(len(tokens.completions[r]) for r in rows) for g, rows in groups]
    cut = pack_by_tokens(costs, budget)
    return [[row for i in part for row in groups[i][1]] for part in cut]
