"""Row packing: every group once, at nearly the best cost over all numbers of rows, and quickly."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from gnomon.models.engine.row_packing import ATTENTION_TOKENS, fill_rows


def test_every_group_gets_one_row() -> None:
    """Equal groups need no company; 10 and 3 cost 13 side by side, and 20 with padding."""
    assert len(fill_rows(dict.fromkeys(range(8), 300))) == 8
    assert fill_rows({0: 3, 1: 10}) == [[1, 0]]
    sizes = {3: 40, 5: 900, 6: 7, 9: 450, 11: 460}
    assert sorted(g for row in fill_rows(sizes) for g in row) == sorted(sizes)
    assert len(fill_rows(dict.fromkeys(range(8), 300), stem=300)) < 8, "a stem is worth sharing"


def every_number_of_rows(sizes: dict[int, int]) -> list[list[int]]:
    """The plain twin of `fill_rows`: each number of rows tried, the cheapest kept."""
    best: list[list[int]] = []
    for count in range(1, len(sizes) + 1):
        rows: list[list[int]] = [[] for _ in range(count)]
        for g in sorted(sizes, key=lambda g: -sizes[g]):
            min(rows, key=lambda row: sum(sizes[g] for g in row)).append(g)
        if not best or row_cost(rows, sizes) < row_cost(best, sizes):
            best = rows
    return best


def row_cost(rows: list[list[int]], sizes: dict[int, int]) -> float:
    length = max(sum(sizes[g] for g in row) for row in rows)
    return len(rows) * length * (1 + length / ATTENTION_TOKENS)


LENGTHS: dict[str, Callable[[random.Random], int]] = {
    "short": lambda r: r.randint(1, 6),
    "alike": lambda r: r.randint(20, 40),
    "long": lambda r: r.randint(400, 2500),
    "mixed": lambda r: r.randint(1, 2000),
    "a few very long": lambda r: int(20 * r.paretovariate(1.2)),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_rows_cost_hardly_more_than_the_best_of_every_number(kind: str) -> None:
    source = random.Random(0)
    for count in (1, 2, 3, 5, 8, 13, 40):
        for _ in range(3):
            sizes = {g: LENGTHS[kind](source) for g in range(count)}
            rows = fill_rows(sizes)
            assert sorted(g for row in rows for g in row) == list(range(count))
            assert row_cost(rows, sizes) <= 1.0102 * row_cost(every_number_of_rows(sizes), sizes)


@pytest.mark.parametrize("kind", LENGTHS)
def test_hundreds_of_groups_are_laid_out_in_milliseconds(kind: str) -> None:
    source = random.Random(0)
    sizes = {g: LENGTHS[kind](source) for g in range(500)}
    times = []
    for _ in range(5):
        started = time.process_time()
        fill_rows(sizes)
        times.append(time.process_time() - started)
    assert min(times) < 0.05  # 2 to 10 ms; trying every number takes seconds
