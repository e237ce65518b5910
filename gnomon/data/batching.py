"""Records to encoded examples, and examples to batches that fit a token budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gnomon.core.batches import Demonstrations, Preferences, TokenGroups, Totals
from gnomon.core.types import Completion, Demonstration, Preference, Prompt, Rejected
from gnomon.data.rendering import render_completion, render_prompt


@dataclass(frozen=True)
class Pair:
    """Two rows of an example's completions, and how much the first is preferred."""

    chosen: int
    rejected: int
    probability: float
    margin: float
    weight: float


@dataclass(frozen=True)
class Example:
    """One prompt with its completions, as ids. A demonstration has one completion and no pairs."""

    prompt_id: str
    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...] = ()
    weight: float = 1.0

    @property
    def rows(self) -> int:
        """What a loss counts: pairs, or completions where there are none."""
        return len(self.pairs) or len(self.completions)

    @property
    def completion_tokens(self) -> int:
        """Tokens of all completions."""
        return sum(len(c) for c in self.completions)

    @property
    def cost(self) -> int:
        """Tokens a model reads: the prompt once, and each completion."""
        return len(self.prompt) + self.completion_tokens


def encode_demonstrations(
    records: Sequence[Demonstration], tokenizer: Any, max_tokens: int
) -> tuple[list[Example], list[Rejected]]:
    """Demonstrations as examples; those longer than `max_tokens` (prompt and completion) are rejected."""
    examples, rejected = [], []
    for number, record in enumerate(records, start=1):
        where = f"demonstration {number} ('{record.completion.id}')"
        prompt = tuple(render_prompt(tokenizer, record.prompt))
        ids = tuple(render_completion(tokenizer, record.completion.text, where))
        if len(prompt) + len(ids) > max_tokens:
            rejected.append(_too_long(where, len(prompt) + len(ids), max_tokens, record.completion.text))
        else:
            examples.append(Example(record.prompt.id, prompt, (ids,), weight=record.weight))
    return examples, rejected


def encode_preferences(
    records: Sequence[Preference], tokenizer: Any, max_tokens: int
) -> tuple[list[Example], list[Rejected]]:
    """Preferences as one example a prompt: a completion in several pairs is encoded, and later computed, once.

    Pairs with a completion that is too long, or whose two sides have the same tokens, are rejected.
    """
    by_prompt: dict[str, list[tuple[int, Preference]]] = {}
    for number, record in enumerate(records, start=1):
        by_prompt.setdefault(record.prompt.id, []).append((number, record))
    examples: list[Example] = []
    rejected: list[Rejected] = []
    for prompt_id, numbered in by_prompt.items():
        prompt = tuple(render_prompt(tokenizer, numbered[0][1].prompt))
        rows: dict[tuple[int, ...], int] = {}
        pairs: list[Pair] = []
        for number, record in numbered:
            where = f"preference {number} (prompt '{prompt_id}')"
            sides = [_ids(tokenizer, side, where) for side in (record.chosen, record.rejected)]
            longest = len(prompt) + max(map(len, sides))
            if longest > max_tokens:
                rejected.append(_too_long(where, longest, max_tokens, record.chosen.text))
            elif sides[0] == sides[1]:
                reason = "both completions have the same tokens; remove the pair"
                rejected.append(Rejected(where, reason, record.chosen.text))
            else:
                chosen, other = (rows.setdefault(ids, len(rows)) for ids in sides)
                pairs.append(Pair(chosen, other, record.probability, record.margin, record.weight))
        if pairs:
            examples.append(Example(prompt_id, prompt, tuple(rows), tuple(pairs)))
    return examples, rejected


def encode_completions(
    prompts: Sequence[Prompt], completions: Sequence[Completion], tokenizer: Any
) -> list[Example]:
    """Completions to be scored, one example each; sampled ids are taken as they are."""
    rendered: dict[str, tuple[int, ...]] = {}
    for prompt in prompts:
        if prompt.id not in rendered:
            rendered[prompt.id] = tuple(render_prompt(tokenizer, prompt))
    return [
        Example(p.id, rendered[p.id], (_ids(tokenizer, c, f"completion '{c.id}'"),))
        for p, c in zip(prompts, completions, strict=True)
    ]


def _ids(tokenizer: Any, completion: Completion, where: str) -> tuple[int, ...]:
    return completion.token_ids or tuple(render_completion(tokenizer, completion.text, where))


def _too_long(where: str, length: int, limit: int, text: str) -> Rejected:
    return Rejected(
        where, f"{length} tokens, more than max_tokens = {limit}; shorten it or raise max_tokens", text
    )


def totals_of(examples: Sequence[Example]) -> Totals:
    """What a step over `examples` divides by."""
    return Totals(sum(e.rows for e in examples), sum(e.completion_tokens for e in examples))


def token_groups(examples: Sequence[Example]) -> TokenGroups:
    """Examples with the same prompt share it."""
    keys = {e.prompt_id: e.prompt for e in examples}
    place = {key: i for i, key in enumerate(keys)}
    return TokenGroups.build(
        prompts=list(keys.values()),
        completions=[c for e in examples for c in e.completions],
        group=[place[e.prompt_id] for e in examples for _ in e.completions],
    )


def collate_demonstrations(examples: Sequence[Example], totals: Totals) -> Demonstrations:
    """A batch of demonstrations."""
    return Demonstrations(token_groups(examples), torch.tensor([e.weight for e in examples]), totals)


def collate_preferences(examples: Sequence[Example], totals: Totals) -> Preferences:
    """A batch of pairs over the distinct completions of each prompt."""
    starts = [0]
    for example in examples:
        starts.append(starts[-1] + len(example.completions))
    placed = [(start, pair) for start, e in zip(starts, examples, strict=False) for pair in e.pairs]
    return Preferences(
        tokens=token_groups(examples),
        chosen=torch.tensor([start + pair.chosen for start, pair in placed]),
        rejected=torch.tensor([start + pair.rejected for start, pair in placed]),
        probability=torch.tensor([pair.probability for _, pair in placed]),
        margin=torch.tensor([pair.margin for _, pair in placed]),
        weight=torch.tensor([pair.weight for _, pair in placed]),
        totals=totals,
    )


COLLATE: dict[type, Callable[[Sequence[Example], Totals], Any]] = {
    Demonstration: collate_demonstrations,
    Preference: collate_preferences,
}
ENCODE: dict[type, Callable[[Any, Any, int], tuple[list[Example], list[Rejected]]]] = {
    Demonstration: encode_demonstrations,
    Preference: encode_preferences,
}


def within_budget(costs: Sequence[int], budget: int) -> Iterator[list[int]]:
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
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator).tolist()
