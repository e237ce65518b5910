"""Base class of the results that runs write as JSON and reports read: typed for the writer, lenient for a reader.

Every field is optional and unknown keys are ignored, so that the files of an unfinished run, or of an older or
newer version, can be read. A number that is missing, NaN or not a number is None.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict


def finite(value: object) -> float | None:
    """Return the value if it is a finite number, else None."""
    value = value.item() if hasattr(value, "item") else value  # a number of NumPy or torch
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _words(value: object) -> str:
    return "" if value is None else str(value)


def _pairs_of_numbers(value: object) -> list[tuple[float, float]]:
    """Select the rows of a scatter plot that are two finite numbers."""
    pairs = []
    for row in value if isinstance(value, list) else []:
        x, y = map(finite, row) if isinstance(row, list | tuple) and len(row) == 2 else (None, None)
        if x is not None and y is not None:
            pairs.append((x, y))
    return pairs


Number = Annotated[int | float | None, BeforeValidator(finite)]
Words = Annotated[str, BeforeValidator(_words)]
Points = Annotated[list[tuple[int | float, int | float]], BeforeValidator(_pairs_of_numbers)]


class IntervalEstimate(NamedTuple):
    """A value with its interval."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class ResultModel(BaseModel):
    """Base of all results: unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    def estimate(self, name: str, low: str = "", high: str = "") -> IntervalEstimate:
        """Return the field `name` with its interval.

        Args:
            name: name of the value's field.
            low: name of the lower bound's field; by default `name_low`.
            high: name of the upper bound's field; by default `name_high`.
        """
        keys = (name, low or f"{name}_low", high or f"{name}_high")
        return IntervalEstimate(*(getattr(self, key, None) for key in keys))

    def content(self) -> dict[str, Any]:
        """Return the fields that were set, in their order, for writing."""
        return self.model_dump(exclude_unset=True)

    def given(self) -> dict[str, Any]:
        """Return the fields that were set, by name, for a result with the same fields."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class Interval(ResultModel):
    """A mean or an agreement, with its interval."""

    level: Words = ""
    value: Number = None
    mean: Number = None
    low: Number = None
    high: Number = None
