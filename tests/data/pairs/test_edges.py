"""Merged comparisons, broken cycles and concluded chains, by hand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from gnomon.data.pairs.edges import Edge, concluded, merged, without_cycles


def edge(better: int, worse: int, probability: float = 1.0, weight: float = 1.0, margin: float = 1.0) -> Edge:
    return Edge(better, worse, probability, margin, weight)


def test_comparisons_of_the_same_two_are_merged_by_weight() -> None:
    """Twice 0 > 1 with 0.9, weight 2, and once 1 > 0 with 0.7, weight 1: lead (2·0.4 − 0.2)/3 = 0.2.

    Margins: (2·3 − 1·6)/3 = 0. For 1 > 0 alone the edge turns round.
    """
    (one,) = merged([edge(0, 1, 0.9, 2.0, 3.0), edge(1, 0, 0.7, 1.0, 6.0)])
    assert (one.better, one.worse, one.weight) == (0, 1, 3.0)
    assert one.probability == pytest.approx(0.7)
    assert one.margin == pytest.approx(0.0)
    (turned,) = merged([edge(1, 0, 0.7, 1.0, 6.0), edge(0, 1, 0.5, 1.0, 0.0)])
    assert turned.better == 1
    assert [turned.probability, turned.margin] == pytest.approx([0.6, 3.0])
    assert merged([edge(0, 1, weight=0.0)]) == []


def test_the_weakest_edge_of_a_cycle_is_removed() -> None:
    strong, middle, weak = edge(0, 1, weight=3.0), edge(1, 2, weight=2.0), edge(2, 0, weight=1.0)
    for order in itertools.permutations([strong, middle, weak]):
        remaining, removed = without_cycles(order)
        assert removed == [weak]
        assert remaining == [one for one in order if one is not weak]


def test_equally_weak_edges_of_a_cycle_are_all_removed() -> None:
    """0 > 1 is strong; 1 > 2 and 2 > 0 are equal, and neither is weaker: both go. Alone, none would."""
    strong, first, second = edge(0, 1, weight=3.0), edge(1, 2), edge(2, 0)
    for order in itertools.permutations([strong, first, second]):
        assert without_cycles(order)[0] == [strong]
    assert without_cycles([strong, first])[1] == []


def test_ties_close_no_cycle() -> None:
    edges = [edge(0, 1), edge(1, 2), edge(2, 0, probability=0.5)]
    assert without_cycles(edges) == (edges, [])


def test_a_chain_is_concluded_weaker_and_never_against_a_comparison() -> None:
    """0 > 1 > 2 > 3: two steps halve margin and weight, three quarter them. 0 and 3 were compared: a tie."""
    chain = [edge(0, 1, 0.9, 4.0, 2.0), edge(1, 2, 0.8, 2.0, 3.0), edge(2, 3, 1.0, 8.0, 1.0)]
    assert concluded([*chain, edge(0, 3, 0.5)], 0.5) == [
        Edge(0, 2, 0.8, 1.0, 1.0, 2),
        Edge(1, 3, 0.8, 0.5, 1.0, 2),
    ]
    assert concluded(chain, 0.5)[1] == Edge(0, 3, 0.8, 0.25, 0.5, 3)


def test_the_surest_chain_counts_then_the_shortest() -> None:
    """From 0 to 3: through 1 with least probability 0.6, through 2 and 4 with 0.9."""
    sure = [edge(0, 2, 0.9), edge(2, 4, 0.9), edge(4, 3, 0.9)]
    unsure = [edge(0, 1, 1.0), edge(1, 3, 0.6)]
    result = {(one.better, one.worse): one for one in concluded([*unsure, *sure], 0.5)}
    assert (result[0, 3].probability, result[0, 3].steps) == (0.9, 3)
    short = {(one.better, one.worse): one for one in concluded([*sure, edge(0, 1, 0.95), edge(1, 3, 0.9)], 0.5)}
    assert (short[0, 3].probability, short[0, 3].steps) == (0.9, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 4)), max_size=15))
def test_no_cycle_remains_and_conclusions_contradict_no_comparison(votes: list[tuple[int, int, int]]) -> None:
    edges = merged(edge(a, b, weight=float(w)) for a, b, w in votes if a != b)
    remaining, removed = without_cycles(edges)
    assert sorted(map(repr, remaining + removed)) == sorted(map(repr, edges))
    order: list[int] = []
    below = {n: {one.worse for one in remaining if one.better == n and one.strength > 1e-9} for n in range(6)}
    while len(order) < 6:
        free = [
            n for n in range(6) if n not in order and not any(n in below[m] for m in range(6) if m not in order)
        ]
        assert free, "a cycle remains"
        order.append(free[0])
    compared = {frozenset((one.better, one.worse)) for one in remaining}
    for one in concluded(remaining, 0.5):
        assert frozenset((one.better, one.worse)) not in compared
        assert order.index(one.better) < order.index(one.worse)
        assert one.weight < max(other.weight for other in remaining)


def test_nothing_is_concluded_against_a_vote_that_broke_a_cycle() -> None:
    """a > b > c > a, the last the weakest: it is removed, and a > c is not put in its place."""
    votes = [Edge(0, 1, 0.9, 1, 1), Edge(1, 2, 0.9, 1, 1), Edge(2, 0, 0.6, 1, 1)]
    edges, removed = without_cycles(votes)
    assert removed == [votes[2]]
    assert concluded(edges, 0.5, removed) == []
    assert [(edge.better, edge.worse) for edge in concluded(edges, 0.5)] == [(0, 2)]
