"""MinHash: rows of a file that may be near-duplicates, in memory that grows by a few bytes a row.

Signatures are by one-permutation hashing: the smallest hash in each of 16 ranges, for 4 hash functions (P. Li,
A. Owen and C.-H. Zhang, "One Permutation Hashing", NIPS 2012); an empty range takes another one's value
(A. Shrivastava, "Optimal Densification for Fast and Accurate Minwise Hashing", ICML 2017). A permutation for each
of 64 hashes, as in `datasketch`, takes ten times as long. Bands are as in Leskovec, Rajaraman and Ullman, "Mining
of Massive Datasets", chapter 3, each as one number: an index of Python objects needs gigabytes for a
million rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gnomon.data.quality.contract import Digests

FUNCTIONS, RANGES = 4, 16
HASHES = FUNCTIONS * RANGES
RECALL = 0.99  # of pairs exactly at the similarity
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64)
_STARTS = np.arange(RANGES, dtype=np.uint64) << np.uint64(60)
_DONORS = np.stack(
    [np.random.default_rng(n).permutation(RANGES) for n in range(RANGES)]
)  # [range, order of donors]


def band_size(similarity: float) -> int:
    """Return the largest number of hashes in a band that finds pairs of a similarity with `RECALL`."""
    for rows in range(HASHES, 1, -1):
        if 1 - (1 - similarity**rows) ** (HASHES // rows) >= RECALL:
            return rows
    return 1


def band_count(similarity: float) -> int:
    """Return the number of bands of a signature."""
    return HASHES // band_size(similarity)


def signature(hashes: Digests) -> Digests:
    """Return the MinHash signature of a set that is not empty, `[HASHES]`.

    Args:
        hashes: of the set's elements.
    """
    mixed = hashes[None, :] * _FACTORS[:, None]
    mixed ^= mixed >> np.uint64(31)
    mixed *= _MIX
    mixed.sort(axis=1)
    values = np.empty((FUNCTIONS, RANGES), np.uint64)
    for row, ordered in zip(values, mixed, strict=True):
        at = np.searchsorted(ordered, _STARTS).clip(max=len(ordered) - 1)
        row[:] = ordered[at]
        filled = (row >> np.uint64(60)) == np.arange(RANGES, dtype=np.uint64)
        if not filled.all():
            donors = _DONORS[np.arange(RANGES), np.argmax(filled[_DONORS], axis=1)]
            row[:] = np.where(filled, row, row[donors])
    return values.T.reshape(-1)  # neighbors are of different functions


def bands(hashes: Digests, similarity: float) -> list[int]:
    """Return one number a band of the MinHash signature of a set.

    Args:
        hashes: of the set's elements.
        similarity: Jaccard similarity from which on two sets share a band with `RECALL`.
    """
    size, count = band_size(similarity), band_count(similarity)
    if not len(hashes):
        return [0] * count
    values = signature(hashes)[: count * size].reshape(count, size)
    mixed = np.arange(1, count + 1, dtype=np.uint64)
    for column in range(size):
        mixed = (mixed ^ values[:, column]) * _MIX
        mixed ^= mixed >> np.uint64(32)
    return mixed.tolist()


def earlier_rows(
    table: Digests, considered: NDArray[np.bool_], most: int, older: Digests | None = None
) -> Iterator[tuple[int, list[int]]]:
    """Yield each row that shares a band with earlier rows, with up to `most` of these for each band, in order.

    Args:
        table: bands of N rows, `[N, bands]`.
        considered: rows to consider, `[N]`.
        most: earlier rows of a band, the first ones.
        older: bands of M other rows, `[M, bands]`; with them each row is compared with these instead.
    """
    rows = np.flatnonzero(considered)
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
