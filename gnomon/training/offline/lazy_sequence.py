"""A sequence whose items are made when they are indexed, for data that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """Items that a function makes, each time that they are read.

    Args:
        count: number of items.
        make: makes the item of an index.
    """

    def __init__(self, count: int, make: Callable[[int], T]):
        self._indices, self._make = range(count), make

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        """Make the item of an index, or those of a slice."""
        at = self._indices[index]
        return [self._make(one) for one in at] if isinstance(at, range) else self._make(at)
