"""Spend a budget of votes on pairs of texts, learn from them, choose the next pairs; measure what was learned."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from replay.heads import FloatArray, HeldOut, choose_strength, ensemble, fit, pairs_of
from replay.shops import Shop

from gnomon.core.types import Completion, RatedText
from gnomon.feedback.selection import pairs as pairing

CANDIDATES, PAIRS_A_DRAW = 20, 5  # texts drawn at a time, and pairs of them that are asked
FLOOR = 0.2  # share of the pairs that active pairing leaves to chance
MEMBERS = 5  # heads of the ensemble
ROUNDS = 4  # between two amounts at which accuracy is measured
FIRST_STRENGTH = 1.0  # of the penalty, before there is anything to choose it by


@dataclass(frozen=True)
class Plan:
    """One way to spend a budget.

    Attributes:
        each: votes an item.
        active: pairs are those that the ensemble is least sure of, but for the random floor.
        seed: of what is drawn: candidates, pairs, who comes when, bootstraps.
        amounts: votes bought when accuracy is measured, ascending.
    """

    each: int
    active: bool
    seed: int
    amounts: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the file of its result."""
        return f"{self.each}-{'active' if self.active else 'random'}-{self.seed}"

    def rounds(self) -> Iterator[int]:
        """Votes bought at the end of each round; four rounds of equal size lead to each amount."""
        before = 0
        for amount in self.amounts:
            if (amount - before) % (ROUNDS * self.each):
                raise ValueError(f"{amount - before} votes are not {ROUNDS} rounds of {self.each} an item")
            yield from (before + (amount - before) * k // ROUNDS for k in range(1, ROUNDS + 1))
            before = amount


class Buyer:
    """Chooses pairs of texts, none twice, and sends annotators to a shop until they are answered."""

    def __init__(self, shop: Shop, items: Sequence[RatedText], plan: Plan):
        self.shop, self.plan = shop, plan
        self.texts = [Completion(item.id, item.text) for item in items]
        self.chance = random.Random(plan.seed)
        self.why: dict[frozenset[str], str] = {}  # of each pair that was asked
        self.draws = 0

    def buy(self, votes: int, states: FloatArray, heads: FloatArray | None) -> None:
        """Buy exactly so many votes.

        Args:
            votes: a multiple of the plan's votes an item.
            states: of the texts, `[N, d]`.
            heads: of the ensemble that says what is uncertain, `[members, d]`; without them chance alone chooses.
        """
        self.shop.buy(self._choose(votes // self.plan.each, states, heads))
        prompt_answers = 0
        while prompt_answers < votes:  # everybody comes once, in an order that chance makes, and again
            who = self.chance.sample(self.shop.annotators, len(self.shop.annotators))
            prompt_answers += sum(self.shop.answer(one) for one in who)
        assert prompt_answers == votes

    def _choose(self, count: int, states: FloatArray, heads: FloatArray | None) -> list[tuple[str, str]]:
        """So many pairs that were not asked before, a few from each random set of texts."""
        pairs: list[tuple[str, str]] = []
        while len(pairs) < count:
            rows = self.chance.sample(range(len(self.texts)), min(CANDIDATES, len(self.texts)))
            self.draws += 1
            for pair in pairing.pairs(
                [self.texts[row] for row in rows],
                min(PAIRS_A_DRAW, count - len(pairs)),
                None if heads is None else pairing.uncertainty(heads @ states[rows].T),
                {},
                seed=self.plan.seed * 1_000_003 + self.draws,
                random_share=1.0 if heads is None else FLOOR,
            ):
                if frozenset(pair.ids) not in self.why:
                    self.why[frozenset(pair.ids)] = pair.why
                    pairs.append(pair.ids)
        return pairs


def replay(
    shop: Shop, items: Sequence[RatedText], states: FloatArray, held_out: HeldOut, plan: Plan
) -> dict[str, Any]:
    """Spend the budget of a plan; what a head learned from the votes reaches on the held-out texts.

    Returns:
        The plan's fields, and for each of its amounts `votes`, `items`, `accuracy`, and the penalty's `strength`;
        by why a pair was asked how many were `asked`, and which share of them the voices `split` evenly.
    """
    buyer = Buyer(shop, items, plan)
    row_of_text = {item.id: row for row, item in enumerate(items)}
    heads: FloatArray | None = None
    spent, strength, course = 0, FIRST_STRENGTH, []
    for votes in plan.rounds():
        buyer.buy(votes - spent, states, heads)
        spent = votes
        if votes not in plan.amounts and not plan.active:
            continue
        pairs = pairs_of(shop.bought(), states, row_of_text)
        if votes in plan.amounts:
            strength = choose_strength(pairs, plan.seed)
            accuracy = held_out.accuracy(fit(pairs, strength))
            course.append({"votes": votes, "items": len(pairs), "accuracy": accuracy, "strength": strength})
        if plan.active and votes != plan.amounts[-1]:
            heads = ensemble(pairs, strength, MEMBERS, plan.seed * 1_000_003 + votes)
    pair_counts = Counter(buyer.why.values())
    rows = shop.bought()
    even = Counter(buyer.why[frozenset((r.chosen.id, r.rejected.id))] for r in rows if r.probability == 0.5)
    assert shop.close() == spent
    split = {why: even[why] / count for why, count in pair_counts.items()}
    return {**asdict(plan), "course": course, "asked": dict(pair_counts), "split": split}
