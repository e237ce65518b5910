"""Votes: one annotator's label of one item, the input of all statistics of annotators."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from gnomon.core.errors import DataError

Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Vote:
    """One label that one annotator gave to one item.

    For a pair the label is `a`, `b`, `tie` or `bad`, in the item's own order, in whatever order the two were
    shown. Attributes of the chosen answer are None where none was chosen.

    Attributes:
        annotator: the person's name, the same at every item.
        item: key of the item.
        label: labels are equal or not, and have no order.
        when: seconds since 1970.
        seconds: time spent on it; None where it was not measured.
        chosen_first: whether the chosen answer was the one shown first.
        chosen_length: of the chosen answer, in characters.
        other_length: of the answer that was not chosen, in characters.
        reason: in the annotator's words; None where the project asks for none, `""` where none was given.

    Raises:
        DataError: a time is not a number or below zero, or one of the two lengths is missing.
    """

    annotator: str
    item: Hashable
    label: Hashable
    when: float = 0.0
    seconds: float | None = None
    chosen_first: bool | None = None
    chosen_length: int | None = None
    other_length: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        where = f"the vote of {self.annotator!r} on item {self.item!r}"
        if not math.isfinite(self.when):
            raise DataError(f"{where} has the time {self.when}; give it in seconds since 1970.")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise DataError(f"{where} took {self.seconds} seconds; give a number from 0, or None.")
        if (self.chosen_length is None) != (self.other_length is None):
            raise DataError(f"{where} has the length of one answer only; give both or neither.")


def latest(votes: Iterable[Vote]) -> list[Vote]:
    """Each annotator's latest vote on each item; of two at the same time the later in the sequence."""
    last: dict[tuple[str, Hashable], Vote] = {}
    for vote in votes:
        key = (vote.annotator, vote.item)
        if key not in last or vote.when >= last[key].when:
            last[key] = vote
    return list(last.values())


def in_order(values: Iterable[Value]) -> list[Value]:
    """Distinct values in an order that depends on the values alone: numbers by size, the rest by name.

    Labels and items may be of any types, also of several types that cannot be compared with each other.
    """

    def sort_key(value: Value) -> tuple[str, float, str]:
        return type(value).__name__, value if isinstance(value, int | float) else 0.0, repr(value)

    return sorted(set(values), key=sort_key)
