"""Records that nearly repeat an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import numpy as np

from gnomon.core.ranges import Range
from gnomon.data.quality.contract import Action, Candidates, Decision, Digests, FileFilter, Part, Row
from gnomon.data.quality.minhash import band_count, bands, earlier_rows
from gnomon.data.quality.texts import NGRAM, jaccard, media_key, ngrams, parts_of, salted

COMPARED = 20  # earlier rows of a band that a row is compared with
Similarity = Annotated[float, Range("below 0.5 unrelated texts of one domain are alike", ge=0.5, le=1)]


class NearDuplicates(FileFilter):
    """Finds records that are similar to an earlier record in every part: in the prompt and in each completion.

    Similarity is the Jaccard index of character n-grams, which works for Chinese too. Candidates come from
    MinHash and are then compared exactly, so that no record is dropped by an estimate; 1 in 100 pairs at the
    bound is missed. Two preferences with exchanged sides are no duplicates, nor are two answers to one prompt,
    nor records with different images, sounds or videos.

    Attributes:
        similarity: from which on two texts are alike, in [0.5, 1].
        ngram: characters of an n-gram.
    """

    name: ClassVar[str] = "near_duplicates"
    part: ClassVar[Part] = "unique"
    default: ClassVar[Action] = "drop"
    turn: ClassVar[int] = 20
    similarity: Similarity = 0.8
    ngram: Annotated[int, Range("it counts characters", ge=1, le=100)] = NGRAM

    @property
    def width(self) -> int:
        """The number of bands."""
        return band_count(self.similarity)

    def features(self, record: Any, row: Row) -> Sequence[int]:
        """The bands of the n-grams of all parts, each part's apart from the others'."""
        parts = self.part_ngrams(record)
        salted = [part * np.uint64(2 * n + 1) + np.uint64(n) for n, part in enumerate(parts)]
        return bands(np.concatenate(salted) if salted else np.empty(0, np.uint64), self.similarity)

    def part_ngrams(self, record: Any) -> list[Digests]:
        """Return the n-grams of each part of a record."""
        media = media_key(record)
        return [salted(ngrams(part, self.ngram), media) for part in parts_of(record)]

    def decide(self, candidates: Candidates) -> Decision:
        """Compare each row with the earlier rows that share a band with it."""
        reasons: dict[int, str] = {}
        read = lru_cache(maxsize=5_000)(lambda index: self.part_ngrams(candidates.record(index)))
        for row, others in earlier_rows(candidates.features, candidates.remaining, COMPARED):
            parts = self.part_ngrams(candidates.record(row))
            for other in others:
                if other in reasons:
                    continue
                likeness = similarity_of(parts, read(other), self.similarity)
                if likeness is not None:
                    reasons[row] = f"it is {likeness:.0%} like {candidates.where(other)}"
                    break
        return Decision(reasons)


def similarity_of(one: Sequence[Digests], other: Sequence[Digests], least: float) -> float | None:
    """Return the similarity of the least similar parts of two records, or `None` if it is below a bound.

    Args:
        one: n-grams of each part of a record.
        other: n-grams of each part of another.
        least: the bound.
    """
    if len(one) != len(other):
        return None
    lowest = 1.0
    for first, second in zip(one, other, strict=True):
        sizes = sorted((len(first), len(second)))
        if sizes[1] and sizes[0] / sizes[1] < least:  # no overlap can reach the bound
            return None
        lowest = min(lowest, jaccard(first, second))
        if lowest < least:
            return None
    return lowest
