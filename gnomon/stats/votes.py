"""Votes: one annotator's label of one item, the input of all statistics of judgements."""

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

    For a pair the label is `a`, `b`, `tie` or `bad`. `a` is the first completion in the item's own order,
    whichever order the annotator saw. Attributes of the chosen completion are None where none was chosen.

    Attributes:
        annotator: name of the annotator, the same for all their votes.
        item: key of the item.
        label: any hashable value; labels are compared for equality alone.
        when: time of the vote, in seconds since 1970.
        seconds: time spent on the item; None where it was not measured.
        chosen_first: whether the chosen completion was displayed first.
        chosen_length: length of the chosen completion, in characters.
        other_length: length of the completion that was not chosen, in characters.
        reason: the annotator's reason; None where the project requests none, `""` where it was left empty.
        confidence: the annotator's confidence, in [0, 1]; None where none was stated.
        flagged: whether a check of a written text found something; None where nothing was written.
        accepted: whether the review of a written text accepted it; None without a review.

    Raises:
        DataError: a time is not finite or is below zero, a confidence is not in [0, 1], or only one of the two
            lengths is set.
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
    confidence: float | None = None
    flagged: bool | None = None
    accepted: bool | None = None

    def __post_init__(self) -> None:
        where = f"the vote of {self.annotator!r} on item {self.item!r}"
        if not math.isfinite(self.when):
            raise DataError(f"{where} has the time {self.when}; pass seconds since 1970.")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise DataError(f"{where} took {self.seconds} seconds; pass a number of at least 0, or None.")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise DataError(f"{where} has the confidence {self.confidence}; pass a number from 0 to 1, or None.")
        if (self.chosen_length is None) != (self.other_length is None):
            raise DataError(f"{where} has the length of one completion only; pass both or neither.")


def latest(votes: Iterable[Vote]) -> list[Vote]:
    """Return each annotator's latest vote on each item; of two at the same time the later in the sequence."""
    last: dict[tuple[str, Hashable], Vote] = {}
    for vote in votes:
        key = (vote.annotator, vote.item)
        if key not in last or vote.when >= last[key].when:
            last[key] = vote
    return list(last.values())


def sorted_distinct(values: Iterable[Value]) -> list[Value]:
    """Return the distinct values in an order that depends on the values alone: numbers by size, others by `repr`.

    Values may be of several types that cannot be compared with each other.
    """

    def sort_key(value: Value) -> tuple[str, float, str]:
        return type(value).__name__, value if isinstance(value, int | float) else 0.0, repr(value)

    return sorted(set(values), key=sort_key)
