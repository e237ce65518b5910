"""Where votes are bought: the feedback store with its queue, and a plain twin held to the same votes by a test.

An annotator stands for a place in the lists of ratings. Whoever takes a pair says of it what the two ratings at
that place say: the higher one is better, equal ones are a tie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gnomon.core.types import Completion, Preference, Prompt, RatedText
from gnomon.data.records import parse_record
from gnomon.feedback.export.exporter import ExportSpec, export_rows, start_export
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.queue import NewJudgement, Queue

PROJECT = "replay"
LEASE = 1e9  # seconds: nobody here lets one run out
ComparisonPair = tuple[str, str]


class Shop(Protocol):
    """Asks pairs of simulated annotators."""

    annotators: list[str]

    def buy(self, pairs: Sequence[ComparisonPair]) -> None:
        """Items of which each wants as many votes as the shop sells of one."""

    def answer(self, annotator: str) -> bool:
        """Let an annotator take an item and answer; whether there was one for them."""

    def bought(self) -> list[Preference]:
        """What all votes so far amount to."""

    def close(self) -> int:
        """How many votes were bought."""


class StoreShop:
    """Through SQLite: items are lent by the queue, answers are judgements, the exporter counts voices.

    Args:
        path: of a new file.
        prompt: what all texts answer.
        items: the texts.
        each: votes an item.
    """

    def __init__(self, path: Path, prompt: Prompt, items: Sequence[RatedText], each: int):
        self.store = Store(path)
        self.ratings = {item.id: item.ratings for item in items}
        anyhow = {"consensus_threshold": 0.0}  # however the voices fall, an item is done when it has them
        self.store.add_project(Project(PROJECT, "Which is better?", "pair", each, each, settings=anyhow))
        add_prompts(self.store, PROJECT, [BankPrompt(prompt)])
        add_completions(self.store, PROJECT, ((prompt.id, Completion(item.id, item.text), {}) for item in items))
        self.annotators = [self.store.add_annotator(n, kind="simulated", id=n) for n in annotators_of(items)]
        self.queue = Queue(self.store, PROJECT, lease_seconds=LEASE)

    def buy(self, pairs: Sequence[ComparisonPair]) -> None:
        """Items of the store."""
        added = add_items(self.store, PROJECT, pairs).added
        assert added == len(pairs), "a pair was asked before, or two texts are equal"

    def answer(self, annotator: str) -> bool:
        """By the queue."""
        task = self.queue.take(annotator)
        if task is None:
            return False
        position = self.annotators.index(annotator)
        first, second = (self.ratings[one.id][position] for one in task.completions)
        choice = "tie" if first == second else "first" if first > second else "second"
        receipt = self.queue.submit(
            NewJudgement(f"{annotator}-{task.item}", task.item, annotator, {"choice": choice})
        )
        assert not receipt.duplicate
        return True

    def bought(self) -> list[Preference]:
        """What the store exports."""
        tally = start_export(self.store.project(PROJECT), ExportSpec(kinds=("preferences",)))
        rows = export_rows(self.store, tally)
        return [parse_record(Preference, row) for kind, row in rows if kind == "preferences"]

    def close(self) -> int:
        """Votes that count, of items that are done; there are no others."""
        progress = self.queue.progress()
        self.store.close()
        assert (progress["open"], progress["surplus"]) == (0, 0)
        return progress["judgements"]


@dataclass
class _Item:
    pair: ComparisonPair
    voices: dict[str, float] = field(default_factory=dict)  # for the first of the pair


class PlainShop:
    """The same votes in the same order without a database, which makes a hundred of them in the time of one."""

    def __init__(self, prompt: Prompt, items: Sequence[RatedText], each: int):
        self.prompt, self.each = prompt, each
        self.annotators = annotators_of(items)
        self.texts: Mapping[str, RatedText] = {item.id: item for item in items}
        self.items: list[_Item] = []
        self.open: list[_Item] = []

    def buy(self, pairs: Sequence[ComparisonPair]) -> None:
        """Items behind those that wait."""
        items = [_Item(pair) for pair in pairs]
        self.items += items
        self.open += items

    def answer(self, annotator: str) -> bool:
        """The item nearest to done that they never saw; of equals the oldest."""
        waiting = [item for item in self.open if annotator not in item.voices]
        if not waiting:
            return False
        item = max(waiting, key=lambda one: len(one.voices))
        position = self.annotators.index(annotator)
        first, second = (self.texts[name].ratings[position] for name in item.pair)
        item.voices[annotator] = 0.5 if first == second else float(first > second)
        if len(item.voices) == self.each:
            self.open = [one for one in self.open if one is not item]
        return True

    def bought(self) -> list[Preference]:
        """As the exporter makes them."""
        return [self._preference(item) for item in self.items if item.voices]

    def _preference(self, item: _Item) -> Preference:
        share = sum(item.voices.values()) / len(item.voices)
        better, worse = item.pair if share >= 0.5 else item.pair[::-1]
        share = max(share, 1 - share)
        chosen, rejected = (Completion(name, self.texts[name].text) for name in (better, worse))
        return Preference(self.prompt, chosen, rejected, probability=share, margin=2 * share - 1)

    def close(self) -> int:
        """All votes."""
        assert not self.open
        return sum(len(item.voices) for item in self.items)


def annotators_of(items: Sequence[RatedText]) -> list[str]:
    """One for each place that every list of ratings has."""
    return [f"place-{position:02d}" for position in range(min(len(item.ratings) for item in items))]
