"""Collation of examples to batches, and micro-batches that fit a token budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from gnomon.core.batches import (
    Demonstrations,
    Judgements,
    Labels,
    Preferences,
    Rankings,
    ScoredRows,
    StepTotals,
    TokenGroups,
)
from gnomon.core.lazy import torch
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.data.encoding import Example


def totals_of(examples: Sequence[Example]) -> StepTotals:
    """Count the divisors of a step over `examples`: rows, tokens that the policy chooses, judgements."""
    tokens = sum(e.completion_tokens for e in examples)
    rows = sum(e.loss_terms for e in examples)
    return StepTotals(rows, tokens, examples=len(examples), judged=judged_of(examples))


def judged_of(examples: Sequence[Example]) -> dict[str, float]:
    """Count the judgements of examples by kind, with the keys of `Judgements`; kinds without any are absent."""
    counts: Counter[str] = Counter()
    for example in examples:
        counts["pairs"] += len(example.pairs)
        counts["paired_examples"] += bool(example.pairs)
        counts["rankings"] += len(example.rankings)
        counts["scored"] += len({score.completion for score in example.scores})
        counts.update(f"score {score.name}" for score in example.scores)
    return {kind: float(count) for kind, count in counts.items() if count}


def token_groups(examples: Sequence[Example]) -> TokenGroups:
    """Build token groups: examples with the same prompt share it, and completions keep their order."""
    keys = {e.prompt_id: e.prompt for e in examples}
    assert all(keys[e.prompt_id] == e.prompt for e in examples), "a prompt id stands for one prompt"
    index = {key: i for i, key in enumerate(keys)}
    return TokenGroups.build(
        prompts=list(keys.values()),
        completions=[c for e in examples for c in e.completions],
        group=[index[e.prompt_id] for e in examples for _ in e.completions],
        masks=[m for e in examples for m in e.masks or [[True] * len(c) for c in e.completions]],
        names=list(keys),
    )


def collate_demonstrations(examples: Sequence[Example], totals: StepTotals) -> Demonstrations:
    """Collate demonstrations to a batch."""
    return Demonstrations(token_groups(examples), _weights(examples), totals)


def collate_labels(examples: Sequence[Example], totals: StepTotals) -> Labels:
    """Collate labeled completions to a batch, in the order of the examples."""
    good = torch.tensor([bool(e.good) for e in examples])
    return Labels(token_groups(examples), good, _weights(examples), totals)


def collate_preferences(examples: Sequence[Example], totals: StepTotals) -> Preferences:
    """Collate preferences to a batch of pairs over the distinct completions of each prompt."""
    pairs = [(start, pair) for start, e in zip(_starts(examples), examples, strict=True) for pair in e.pairs]
    return Preferences(
        tokens=token_groups(examples),
        chosen=torch.tensor([start + pair.chosen for start, pair in pairs]),
        rejected=torch.tensor([start + pair.rejected for start, pair in pairs]),
        probability=torch.tensor([pair.probability for _, pair in pairs]),
        margin=torch.tensor([pair.margin for _, pair in pairs]),
        weight=torch.tensor([pair.weight for _, pair in pairs]),
        totals=totals,
        share=torch.tensor([1 / len(e.pairs) for e in examples for _ in e.pairs]),
        tie=torch.tensor([pair.tie for _, pair in pairs]),
    )


def collate_rankings(examples: Sequence[Example], totals: StepTotals) -> Rankings:
    """Collate rankings to a batch over the distinct completions of each prompt."""
    rankings = [
        (start, ranking) for start, e in zip(_starts(examples), examples, strict=True) for ranking in e.rankings
    ]
    return Rankings(
        tokens=token_groups(examples),
        order=tuple(torch.tensor([start + row for row in ranking.order]) for start, ranking in rankings),
        weight=torch.tensor([ranking.weight for _, ranking in rankings]),
        totals=totals,
    )


def collate_judgements(examples: Sequence[Example], totals: StepTotals) -> Judgements:
    """Collate judgements of several kinds to a batch over the distinct completions of each prompt."""
    pairs, rankings = collate_preferences(examples, totals), collate_rankings(examples, totals)
    scores: dict[str, list[tuple[int, float, float]]] = {}
    for start, example in zip(_starts(examples), examples, strict=True):
        for score in example.scores:
            row = start + score.completion, score.value, score.weight
            scores.setdefault(score.name, []).append(row)
    return Judgements(
        tokens=pairs.tokens,
        pairs=pairs if len(pairs.chosen) else None,
        rankings=rankings if rankings.order else None,
        scores={name: _scored_rows(rows) for name, rows in scores.items()},
        totals=totals,
    )


def _scored_rows(scores: Sequence[tuple[int, float, float]]) -> ScoredRows:
    rows, values, weights = zip(*scores, strict=True)
    return ScoredRows(torch.tensor(rows), torch.tensor(values), torch.tensor(weights))


def _weights(examples: Sequence[Example]) -> torch.Tensor:
    return torch.tensor([e.weight for e in examples])


def _starts(examples: Sequence[Example]) -> list[int]:
    """Return the row of each example's first completion."""
    return list(accumulate((len(e.completions) for e in examples[:-1]), initial=0))


COLLATE: dict[type, Callable[[Sequence[Example], StepTotals], Any]] = {
    Demonstration: collate_demonstrations,
    Preference: collate_preferences,
    Label: collate_labels,
    Ranking: collate_rankings,
}


def collate_for(kinds: Sequence[type]) -> Callable[[Sequence[Example], StepTotals], Any]:
    """Return the function that collates examples for an algorithm that learns from records of these kinds."""
    return COLLATE[kinds[0]] if len(kinds) == 1 else collate_judgements


def pack_by_tokens(costs: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut items into micro-batches of at most `budget` tokens, similar lengths together, longest first.

    An item that costs more than the budget is alone in its micro-batch.
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
    """Return a permutation of `count` items that depends on its arguments only.

    Args:
        count: number of items.
        seed: of the run.
        epoch: number of the epoch.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**64)  # torch takes 64 bits
    return torch.randperm(count, generator=generator).tolist()


def rows_by_weight(count: int, weight: float, seed: int) -> list[int]:
    """Repeat or subsample the rows of a source by its weight: 0.5 takes half of them, 2 takes each twice.

    Args:
        count: rows of the source.
        weight: of the source.
        seed: of the choice of a fraction.
    """
    repeats, fraction = int(weight), weight - int(weight)
    return [*range(count)] * repeats + epoch_order(count, seed, 99)[: round(fraction * count)]


def micro_batches(tokens: TokenGroups, budget: int) -> list[list[int]]:
    """Cut rows into micro-batches of at most `budget` tokens; completions of one prompt stay together."""
    members: dict[int, list[int]] = {}
    for row, g in enumerate(tokens.group.tolist()):
        members.setdefault(g, []).append(row)
    groups = list(members.items())
    costs = [len(tokens.prompts[g]) + sum(len(tokens.completions[r]) for r in rows) for g, rows in groups]
    cut = pack_by_tokens(costs, budget)
    return [[row for i in part for row in groups[i][1]] for part in cut]
