"""Prompts with completions of other prompts, on which the KL baseline of KTO is estimated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gnomon.core.errors import DataError
from gnomon.data.batching import epoch_order
from gnomon.data.encoding import Example
from gnomon.data.example_columns import columns_of

ORDER = 2_000  # an "epoch" of its own, so that partners have nothing to do with the order of training


class MismatchedPairs(Mapping[int, Example]):
    """By row of examples, its prompt with the completions of another, made when it is read.

    Args:
        examples: all examples.
        partners: the row whose completions a row gets; rows without a partner are left out.
    """

    def __init__(self, examples: Sequence[Example], partners: Mapping[int, int]):
        self._examples, self._partners = examples, partners

    def __getitem__(self, row: int) -> Example:
        """Make the pair of a row."""
        own = self._examples[row]
        return replace(self._examples[self._partners[row]], prompt_id=own.prompt_id, prompt=own.prompt)

    def __contains__(self, row: object) -> bool:
        """Return whether a row has a partner."""
        return row in self._partners

    def __iter__(self) -> Iterator[int]:
        """Iterate over the rows."""
        return iter(self._partners)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._partners)

    def of_rows(self, rows: Sequence[int]) -> MismatchedPairs:
        """Return the pairs of some rows, in their order."""
        return MismatchedPairs(
            self._examples, {row: self._partners[row] for row in rows if row in self._partners}
        )


def mismatched_pairs(examples: Sequence[Example], max_tokens: int, seed: int) -> MismatchedPairs:
    """Pair each example's prompt with another prompt's completions; the same partners for the same seed.

    Partners are neighbors on a ring in random order, so each completion is used about once.

    Args:
        examples: encoded examples of at least two prompts.
        max_tokens: length limit of prompt and completion together.
        seed: of the order.

    Returns:
        One for each example, unless no completions fit with its prompt.

    Raises:
        DataError: all examples are of one prompt.
    """
    columns = columns_of(examples)
    names, lengths, longest = columns.prompt_ids, columns.prompt_lengths.tolist(), columns.longest
    if len(set(names)) < 2:
        raise DataError(
            "all rows have the same prompt, and this algorithm compares completions of two; add another prompt."
        )
    ring = epoch_order(len(names), seed, ORDER)
    partners: dict[int, int] = {}
    for position, own in enumerate(ring):
        for step in range(1, len(ring)):
            other = ring[(position + step) % len(ring)]
            if names[other] != names[own] and lengths[own] + longest[other] <= max_tokens:
                partners[own] = other
                break
    return MismatchedPairs(examples, partners)
