"""Facts of many examples that are known without reading their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gnomon.data.encoding import Example


@dataclass(frozen=True)
class ExampleColumns:
    """The prompts and the lengths of `N` examples with `M` completions in all.

    Attributes:
        prompt_ids: of each example.
        prompt_lengths: in tokens, `[N]`.
        completion_counts: completions of each example, at least one, `[N]`.
        completion_lengths: in tokens, of all completions in order, `[M]`.
    """

    prompt_ids: Sequence[str]
    prompt_lengths: NDArray[np.int64]
    completion_counts: NDArray[np.int64]
    completion_lengths: NDArray[np.int64]

    @property
    def costs(self) -> list[int]:
        """`Example.cost` of each."""
        costs: list[int] = (self.prompt_lengths + self._by_example(np.add)).tolist()
        return costs

    @property
    def longest(self) -> list[int]:
        """Tokens of each example's longest completion."""
        longest: list[int] = self._by_example(np.maximum).tolist()
        return longest

    def _by_example(self, reduce: np.ufunc) -> NDArray[np.int64]:
        if not len(self.completion_counts):
            return self.completion_counts
        values: NDArray[np.int64] = reduce.reduceat(self.completion_lengths, self._starts)
        return values

    def take(self, rows: NDArray[np.int64]) -> ExampleColumns:
        """Return the columns of some of the examples, in the order of `rows`."""
        counts = self.completion_counts[rows]
        first = np.repeat(self._starts[rows] - (np.cumsum(counts) - counts), counts)
        return ExampleColumns(
            prompt_ids=[self.prompt_ids[row] for row in rows.tolist()],
            prompt_lengths=self.prompt_lengths[rows],
            completion_counts=counts,
            completion_lengths=self.completion_lengths[first + np.arange(counts.sum())],
        )

    @property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.completion_counts) - self.completion_counts


@runtime_checkable
class HasColumns(Protocol):
    """Examples that know their columns."""

    def columns(self) -> ExampleColumns:
        """Read the prompts' ids and all lengths."""


def columns_of(examples: Sequence[Example]) -> ExampleColumns:
    """Collect the columns of examples; of stored ones without reading their tokens."""
    if isinstance(examples, HasColumns):
        return examples.columns()
    return ExampleColumns(
        prompt_ids=[example.prompt_id for example in examples],
        prompt_lengths=np.array([len(example.prompt) for example in examples], dtype=np.int64),
        completion_counts=np.array([len(example.completions) for example in examples], dtype=np.int64),
        completion_lengths=np.array(
            [len(c) for example in examples for c in example.completions], dtype=np.int64
        ),
    )
