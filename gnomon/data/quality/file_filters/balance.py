"""Categories of prompts with too many records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.ranges import Range, Seed
from gnomon.data.formats.columns import path_of
from gnomon.data.quality.contract import Action, Candidates, Decision, FileFilter, Part, Row
from gnomon.data.quality.texts import digest, parts_of
from gnomon.data.reading.counting import counted


class Balance(FileFilter):
    """Balances categories by a cap on their records or by weights; without a column it does nothing.

    Attributes:
        column: the column with a record's category, or a path such as `meta.topic`.
        by: `cap` drops records of large categories, in an order that depends on their texts and the seed;
            `weight` multiplies weights so that all categories weigh the same, with mean 1.
        cap: most records of a category; by default the median size of the categories.
        seed: of the choice.
    """

    name: ClassVar[str] = "balance"
    part: ClassVar[Part] = "unbiased"
    default: ClassVar[Action] = "drop"
    turn: ClassVar[int] = 80
    column: str = ""
    by: Literal["cap", "weight"] = "cap"
    cap: Annotated[int, Range("it counts records", ge=1, le=10**9)] | None = None
    seed: Seed = 0

    @property
    def idle(self) -> bool:
        """Without a column."""
        return not self.column

    def prepare(self) -> None:
        """Parse the column's path."""
        path_of(self.column, "filters.balance.column")

    @property
    def width(self) -> int:
        """Two numbers."""
        return 2

    def features(self, record: Any, row: Row) -> Sequence[int]:
        """Digests of the category, 0 without one, and of the texts with the seed."""
        category = self._category(row)
        return (0 if category is None else digest(category) | 1), digest(str(self.seed), *parts_of(record))

    def _category(self, row: Row) -> str | None:
        value: Any = row
        for key in path_of(self.column, "filters.balance.column"):
            if isinstance(key, int):
                value = value[key] if isinstance(value, list) and -len(value) <= key < len(value) else None
            else:
                value = value.get(key) if isinstance(value, dict) else None
        return None if value is None else str(value)

    def decide(self, candidates: Candidates) -> Decision:
        """Count the categories, and choose records or weights.

        Raises:
            DataError: no record has a category.
        """
        rows = np.flatnonzero(candidates.remaining & (candidates.features[:, 0] != 0))
        if not len(rows):
            raise DataError(
                f"filters.balance: no record has '{self.column}'; name a column of a file in Gnomon's own layout."
            )
        _, first, inverse, sizes = np.unique(
            candidates.features[rows, 0], return_index=True, return_inverse=True, return_counts=True
        )
        names = [str(self._category(candidates.row(int(rows[index])))) for index in first]
        figures = {f"{name:.60}": int(size) for name, size in zip(names, sizes, strict=True)}
        if self.by == "weight":
            factors = len(rows) / (len(sizes) * sizes[inverse])
            return Decision(weights=dict(zip(rows.tolist(), factors.tolist(), strict=True)), figures=figures)
        cap = int(np.median(sizes)) if self.cap is None else self.cap
        order = np.lexsort((rows, candidates.features[rows, 1], inverse))
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rank = np.arange(len(rows)) - np.repeat(starts, sizes)
        over = order[rank >= cap]
        reasons = {
            int(rows[index]): f"category “{names[group]:.60}” has {counted(int(sizes[group]), 'records')}, "
            f"more than {cap:,}"
            for index, group in ((one, inverse[one]) for one in sorted(over))
        }
        return Decision(reasons, figures=figures)
