"""Records that repeat an earlier one exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gnomon.core.types import Label
from gnomon.data.quality.contract import Action, Candidates, Decision, FileFilter, Part, Row
from gnomon.data.quality.texts import digest, media_key, parts_of


class Duplicates(FileFilter):
    """Finds records with the texts and media of an earlier record, and its label or ratings; the first one stays.

    Texts are compared in Unicode's normal form NFC and otherwise as they are.
    """

    name: ClassVar[str] = "duplicates"
    part: ClassVar[Part] = "unique"
    default: ClassVar[Action] = "drop"
    turn: ClassVar[int] = 10

    @property
    def width(self) -> int:
        """Two numbers."""
        return 2

    def features(self, record: Any, row: Row) -> Sequence[int]:
        """A digest of 128 bits of the texts and the label."""
        label = str(record.good) if isinstance(record, Label) else ""
        rating = repr((getattr(record, "ratings", ""), getattr(record, "raters", "")))
        parts = [*parts_of(record), media_key(record)]
        return digest("1", label, rating, *parts), digest("2", label, rating, *parts)

    def decide(self, candidates: Candidates) -> Decision:
        """Find rows whose digest an earlier row has."""
        rows = np.flatnonzero(candidates.remaining)
        _, first, inverse = np.unique(candidates.features[rows], axis=0, return_index=True, return_inverse=True)
        original = rows[first[inverse.reshape(-1)]]
        return Decision(
            {
                int(row): f"it repeats {candidates.where(int(other))}"
                for row, other in zip(rows, original, strict=True)
                if row != other
            }
        )
