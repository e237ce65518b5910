"""MinHash: rows of a file that may be near-duplicates, in memory that grows by a few bytes a row.

A. Z. Broder, "On the resemblance and containment of documents" (1997); bands as in J. Leskovec, A. Rajaraman and
J. Ullman, "Mining of Massive Datasets", chapter 3. Signatures are those of `datasketch`; bands are kept as one
number each in an array, because an index of Python objects needs gigabytes for a million rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.data.quality.contract import Digests

PERMUTATIONS = 64
RECALL = 0.99  # of pairs exactly at the similarity
_MIX = np.uint64(0x9E3779B97F4A7C15)


def band_size(similarity: float) -> int:
    """Return the largest number of hashes in a band that finds pairs of a similarity with `RECALL`."""
    for rows in range(PERMUTATIONS, 1, -1):
        if 1 - (1 - similarity**rows) ** (PERMUTATIONS // rows) >= RECALL:
            return rows
    return 1


def band_count(similarity: float) -> int:
    """Return the number of bands of a signature."""
    return PERMUTATIONS // band_size(similarity)


def bands(hashes: Digests, similarity: float) -> list[int]:
    """Return one number a band of the MinHash signature of a set.

    Args:
        hashes: of the set's elements.
        similarity: Jaccard similarity from which on two sets share a band with `RECALL`.
    """
    size, count = band_size(similarity), band_count(similarity)
    if not len(hashes):
        return [0] * count
    signature = _empty().copy()
    signature.update_batch((hashes >> np.uint64(32)).astype(np.uint32))
    values = signature.hashvalues[: count * size].astype(np.uint64).reshape(count, size)
    mixed = np.arange(1, count + 1, dtype=np.uint64)
    for column in range(size):
        mixed = (mixed ^ values[:, column]) * _MIX
        mixed ^= mixed >> np.uint64(32)
    return [int(value) for value in mixed]


@cache
def _empty() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS, hashfunc=int, scheme="affine32")


def earlier_rows(
    table: Digests, kept: NDArray[np.bool_], most: int, older: Digests | None = None
) -> Iterator[tuple[int, list[int]]]:
    """Yield each row that shares a band with earlier rows, with up to `most` of these for each band, in order.

    Args:
        table: bands of N rows, `[N, bands]`.
        kept: rows to consider, `[N]`.
        most: earlier rows of a band, the first ones.
        older: bands of M other rows, `[M, bands]`; with them each row is compared with these instead.
    """
    rows = np.flatnonzero(kept)
    known = table[rows] if older is None else older
    if not len(rows) or not len(known):
        return
    order = np.empty((known.shape[1], len(known)), np.int32)
    starts = np.empty((known.shape[1], len(rows)), np.int32)
    counts = np.empty((known.shape[1], len(rows)), np.int32)
    for band in range(known.shape[1]):
        order[band] = np.argsort(known[:, band], kind="stable")
        ordered, values = known[order[band], band], table[rows, band]
        starts[band] = np.searchsorted(ordered, values, side="left")
        if older is None:
            position = np.empty(len(rows), np.int32)
            position[order[band]] = np.arange(len(rows), dtype=np.int32)
            counts[band] = position - starts[band]
        else:
            counts[band] = np.searchsorted(ordered, values, side="right") - starts[band]
    np.minimum(counts, most, out=counts)
    for row in np.flatnonzero(counts.any(axis=0)).tolist():
        others: set[int] = set()
        for band in np.flatnonzero(counts[:, row]).tolist():
            first = int(starts[band, row])
            others.update(order[band, first : first + counts[band, row]].tolist())
        yield int(rows[row]), [int(rows[one]) if older is None else one for one in sorted(others)]
