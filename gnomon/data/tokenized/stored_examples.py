"""The stored examples of several sources as one sequence, each source repeated or subsampled by its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.data.batching import rows_by_weight
from gnomon.data.encoding import Example
from gnomon.data.example_columns import ExampleColumns
from gnomon.data.tokenized.example_file import ExampleFile


class StoredExamples(Sequence[Example]):
    """Examples that are read from their files when they are indexed.

    A prompt id that stands for different prompts in two sources gets its source as prefix, in all of them.

    Args:
        sources: the file of each source.
        weights: of each source: 0.5 takes half of its examples, 2 takes each twice.
        seed: of the choice of a fraction.
    """

    def __init__(self, sources: Mapping[str, ExampleFile], weights: Mapping[str, float], seed: int):
        self._files = list(sources.values())
        self._names = list(sources)
        self._ambiguous = _ambiguous_ids(self._files)
        rows = [
            np.array(rows_by_weight(len(sources[one]), weights[one], seed), dtype=np.int64) for one in sources
        ]
        self._rows: NDArray[np.int64] = np.concatenate(rows)
        self._of_file: NDArray[np.int64] = np.repeat(np.arange(len(rows)), [len(one) for one in rows])

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """Read the example at an index, or those of a slice."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        number = int(self._of_file[index])
        example: Example = self._files[number][int(self._rows[index])]
        return replace(example, prompt_id=self._named(number, example.prompt_id))

    def columns(self) -> ExampleColumns:
        """Read the prompts' ids and all lengths."""
        parts: list[ExampleColumns] = []
        for number, file in enumerate(self._files):
            columns = file.columns().take(self._rows[self._of_file == number])
            parts.append(replace(columns, prompt_ids=[self._named(number, one) for one in columns.prompt_ids]))
        return ExampleColumns(
            prompt_ids=[name for part in parts for name in part.prompt_ids],
            prompt_lengths=np.concatenate([part.prompt_lengths for part in parts]),
            completion_counts=np.concatenate([part.completion_counts for part in parts]),
            completion_lengths=np.concatenate([part.completion_lengths for part in parts]),
        )

    def scores(self) -> list[list[tuple[str, float]]]:
        """Return the name and value of each example's scores, without reading tokens."""
        by_file = [file.scores() for file in self._files]
        return [by_file[n][int(row)] for n, row in zip(self._of_file.tolist(), self._rows, strict=True)]

    def _named(self, number: int, prompt_id: str) -> str:
        return f"{self._names[number]}:{prompt_id}" if prompt_id in self._ambiguous else prompt_id


def _ambiguous_ids(files: Sequence[ExampleFile]) -> frozenset[str]:
    """Return the prompt ids that stand for different prompts in two files; one file has none."""
    if len(files) == 1:
        return frozenset()
    prompts: dict[str, bytes] = {}
    ambiguous = set()
    for file in files:
        for name, digest in zip(file.columns().prompt_ids, file.prompt_digests(), strict=True):
            if prompts.setdefault(name, digest) != digest:
                ambiguous.add(name)
    return frozenset(ambiguous)
