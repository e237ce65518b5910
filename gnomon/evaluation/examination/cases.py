"""The cases of an examination: pairs and lists of texts with people's judgements of them, each text once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gnomon.core.types import Completion, Prompt
from gnomon.stats.one_person import LeftOut


@dataclass(frozen=True, slots=True)
class PairCase:
    """Two texts that people compared.

    Attributes:
        first: index of the text that people prefer; of either one if they are divided.
        second: index of the other text.
        probability: that a person prefers the first.
        decided: whether people prefer the first at all; undecided pairs have no right order.
        clusters: the prompt's number twice; the numbers of both texts where there is no prompt.
        category: "" without one.
        persons: one person's vote and the others' direction, for each person.
        where: file and row.
    """

    first: int
    second: int
    probability: float
    decided: bool
    clusters: tuple[int, int]
    category: str = ""
    persons: tuple[LeftOut, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class ListCase:
    """Texts of one prompt that people ranked or rated; a single one if it is rated and its prompt has no other.

    Attributes:
        texts: indices of the texts.
        values: what people think of each; higher is better.
        rated: whether the values are ratings, which can be compared with those of other lists.
        cluster: the prompt's number.
    """

    texts: tuple[int, ...]
    values: tuple[float, ...]
    rated: bool
    cluster: int


@dataclass(frozen=True, slots=True)
class BenchmarkCase:
    """A row of a benchmark whose answers are lists.

    Attributes:
        id: of the row, in the benchmark's own terms.
        subset: its subset or domain.
        right: indices of the right answers.
        wrong: indices of the wrong answers.
        where: file and row.
    """

    id: str
    subset: str
    right: tuple[int, ...]
    wrong: tuple[int, ...]
    where: str


@dataclass
class Texts:
    """The texts to score: prompts with a completion each; equal ones are one text."""

    prompts: list[Prompt] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    _index: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def add(self, prompt: Prompt, completion: Completion) -> int:
        """Return the index of a text, which is added if it is new."""
        key = (prompt, completion.text, completion.turns)
        index = self._index.setdefault(key, len(self.prompts))
        if index == len(self.prompts):
            self.prompts.append(prompt)
            self.completions.append(completion)
        return index

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass
class Cases:
    """Everything that an examination reads from files.

    Attributes:
        files: as the user named them.
        texts: the texts of all cases.
        pairs: of all files.
        lists: rankings and rated texts.
        benchmarks: rows of published benchmarks by the benchmark's name.
        category: what the categories are: a column, `file` or "".
        without_prompt: number of rated texts without a prompt.
    """

    files: list[str] = field(default_factory=list)
    texts: Texts = field(default_factory=Texts)
    pairs: list[PairCase] = field(default_factory=list)
    lists: list[ListCase] = field(default_factory=list)
    benchmarks: dict[str, list[BenchmarkCase]] = field(default_factory=dict)
    category: str = ""
    without_prompt: int = 0
    _clusters: dict[Any, int] = field(default_factory=dict)

    def cluster(self, key: Any) -> int:
        """Return the number of a prompt, or of a text without one."""
        return self._clusters.setdefault(key, len(self._clusters))

    @property
    def decided(self) -> list[PairCase]:
        """The pairs with a right order."""
        return [pair for pair in self.pairs if pair.decided]

    @property
    def categories(self) -> list[str]:
        """The names of the categories, in the order of the files."""
        return list(dict.fromkeys(pair.category for pair in self.pairs if pair.category))


def evenly(cases: Sequence[PairCase], count: int) -> list[PairCase]:
    """Return at most that many cases, evenly spaced."""
    if len(cases) <= count:
        return list(cases)
    return [cases[index * len(cases) // count] for index in range(count)]
