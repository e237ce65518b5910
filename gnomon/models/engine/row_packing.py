"""Packing of groups into rows: padding against attention, whose cost is quadratic in a row's length."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

ATTENTION_TOKENS = 1024  # row length at which attention costs about as much as the rest of a layer
WORTHWHILE = 0.01  # smallest saving, as a share of a pass's cost, for which the search goes on


def fill_rows(sizes: Mapping[int, int], stem: int = 0) -> list[list[int]]:
    """Distribute groups over R rows of length L so that R·L·(1 + L/ATTENTION_TOKENS) is near its minimum.

    Each row also holds a stem of `stem` tokens. For a given number of rows the longest groups are placed first,
    each into the emptiest row. Numbers of rows are tried in the order of their lower bounds of the cost, until
    none is left that could save `WORTHWHILE` or more.
    """
    order = sorted(sizes, key=lambda g: -sizes[g])
    sums = list(accumulate((sizes[g] for g in order), initial=0))
    bounds = {n: _rows_cost(n, stem + _least_length(sums, n)) for n in range(1, len(order) + 1)}
    best: list[list[int]] = []
    least = math.inf
    for count in sorted(bounds, key=bounds.__getitem__):
        if bounds[count] >= least * (1 - WORTHWHILE):
            break
        rows, length = _emptiest_first(order, sizes, count)
        cost = _rows_cost(count, stem + length)
        if cost < least:
            best, least = rows, cost
    return best


def _rows_cost(count: int, length: int) -> float:
    return count * length * (1 + length / ATTENTION_TOKENS)


def _least_length(sums: Sequence[int], count: int) -> int:
    """Return a lower bound for the longest of `count` rows; `sums[k]` is the sum of the k longest groups.

    It is at least the average; and of the k·count + 1 longest groups some k + 1 share a row, at best the
    shortest.
    """
    groups = len(sums) - 1
    shared = (sums[k * count + 1] - sums[k * count - k] for k in range((groups - 1) // count + 1))
    return max(math.ceil(sums[-1] / count), *shared)


def _emptiest_first(order: Sequence[int], sizes: Mapping[int, int], count: int) -> tuple[list[list[int]], int]:
    """Place groups into `count` rows, each into the emptiest; returns the rows and the longest row's length."""
    rows: list[list[int]] = [[] for _ in range(count)]
    loads = [(0, row) for row in range(count)]  # a heap
    for g in order:
        load, row = loads[0]
        rows[row].append(g)
        heapq.heapreplace(loads, (load + sizes[g], row))
    return rows, max(loads)[0]
