"""The findings of filters: counted for the report, and listed in a file where they reject nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, get_args

from gnomon.data.quality.contract import Filter, Part
from gnomon.data.quality.lines import json_line
from gnomon.data.quality.report import FilterCount


class Findings:
    """The findings of all filters in a file.

    Args:
        active: the filters.
        flagged: file for those that do not reject their record.

    Attributes:
        counts: by filter.
        parts: indices of the rows with a finding, by part of the quality score.
    """

    def __init__(self, active: Sequence[Filter], flagged: BinaryIO):
        self.flagged = flagged
        self.counts = {one.name: FilterCount(one.action, one.part) for one in active}
        self.parts: dict[str, set[int]] = {part: set() for part in get_args(Part)}

    def add(self, index: int, where: str, name: str, reason: str) -> None:
        """Note a finding; those of one record follow each other.

        Args:
            index: of the row.
            where: its position.
            name: of the filter.
            reason: a clause.
        """
        count = self.counts[name]
        count.add(index, where, reason)
        self.parts[count.part].add(index)
        if count.action != "drop":
            self.flagged.write(json_line({"where": where, "filter": name, "reason": reason}) + b"\n")

    def quality_parts(self, rows: int, unreadable: int, bias: float) -> dict[str, float]:
        """Compute the parts of the quality score.

        Args:
            rows: number of rows.
            unreadable: number of rows that hold no record.
            bias: how far the labels follow something else than quality.
        """
        records = rows - unreadable
        parts = {"readable": records / rows if rows else 0.0}
        for part, indices in self.parts.items():
            parts[part] = 1 - len(indices) / records if records else 0.0
        parts["unbiased"] *= 1 - bias
        return parts
