"""The category of each row: a column that the user names, or one with a usual name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

USUAL = (
    "category", "subset", "domain", "task", "task_type", "topic", "source", "dataset", "section", "language",
)  # fmt: skip
MOST_CATEGORIES = 100
FEW = 10  # rows below which a category's figures are flagged


def category_column(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the first usual column that divides the rows; "" if there is none.

    At least half of the rows must have it, with two values or more, at most `MOST_CATEGORIES`, and fewer values
    than rows: a column with another value in each row is an id.
    """
    for name in USUAL:
        values = [value for row in rows if (value := cell(row, name))]
        kinds = len(set(values))
        if 2 * len(values) >= len(rows) and 2 <= kinds <= min(MOST_CATEGORIES, len(values) - 1):
            return name
    return ""


def cell(row: Mapping[str, Any], column: str) -> str:
    """Return a row's value in a column as text, `a.b` for a nested one; "" if it has none."""
    value: Any = row.get(column)
    if value is None and "." in column:
        value = row
        for part in column.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool | str | int | float):
        return str(value).strip()
    return ""
