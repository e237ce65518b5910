"""Comparisons of the completions of one prompt, as weighted edges: cycles are broken, chains are concluded."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

EVEN = 1e-9  # a net strength below is a tie


@dataclass(frozen=True)
class Edge:
    """One completion is preferred to another.

    Attributes:
        better: index of the preferred completion.
        worse: index of the other one.
        probability: that `better` is preferred, at least 0.5; 0.5 is a tie.
        margin: difference of strengths or ratings, 0 if unknown.
        weight: weight of all comparisons of the two.
        steps: number of comparisons that it was concluded from; 1 for compared completions.
        tie: share of ties; 0 for a conclusion.
    """

    better: int
    worse: int
    probability: float
    margin: float
    weight: float
    steps: int = 1
    tie: float = 0.0

    @property
    def strength(self) -> float:
        """Net votes for `better`."""
        return (2 * self.probability - 1) * self.weight


def merged(edges: Iterable[Edge]) -> list[Edge]:
    """Merge all comparisons of two completions into one edge, by their weights.

    The probability, the margin and the share of ties are weighted means over the comparisons, the former two in
    the direction of the result.
    """
    groups: dict[tuple[int, int], list[Edge]] = defaultdict(list)
    for edge in edges:
        groups[min(edge.better, edge.worse), max(edge.better, edge.worse)].append(edge)
    result = []
    for (first, second), group in groups.items():
        total = sum(edge.weight for edge in group)
        if not total:
            continue
        forward = [1 if edge.better == first else -1 for edge in group]
        lead = (
            sum(s * (edge.probability - 0.5) * edge.weight for s, edge in zip(forward, group, strict=True))
            / total
        )
        margin = sum(s * edge.margin * edge.weight for s, edge in zip(forward, group, strict=True)) / total
        tie = sum(edge.tie * edge.weight for edge in group) / total
        if lead >= 0:
            result.append(Edge(first, second, 0.5 + lead, margin, total, tie=tie))
        else:
            result.append(Edge(second, first, 0.5 - lead, -margin, total, tie=tie))
    return result


def without_cycles(edges: Sequence[Edge]) -> tuple[list[Edge], list[Edge]]:
    """Split edges into those without a cycle and those removed: of each cycle the weakest.

    Edges are taken from the strongest on, and one that would close a cycle of edges at least as strong is
    removed. Equally strong edges that only together close a cycle are all removed, so that the result does not
    depend on their order. Ties close no cycle.

    Returns:
        The remaining edges and the removed ones, each in the order of `edges`.
    """
    levels: dict[float, list[int]] = defaultdict(list)
    for index, edge in enumerate(edges):
        levels[round(edge.strength, 9)].append(index)
    below: dict[int, set[int]] = defaultdict(set)  # node → nodes that it is preferred to
    removed: set[int] = set()
    for strength in sorted(levels, reverse=True):
        if strength <= EVEN:
            break
        level = levels[strength]
        with_level = {node: set(others) for node, others in below.items()}
        for index in level:
            with_level.setdefault(edges[index].better, set()).add(edges[index].worse)
        for index in level:
            if _reaches(with_level, edges[index].worse, edges[index].better):
                removed.add(index)
            else:
                below[edges[index].better].add(edges[index].worse)
    remaining = [edge for index, edge in enumerate(edges) if index not in removed]
    return remaining, [edge for index, edge in enumerate(edges) if index in removed]


def _reaches(graph: Mapping[int, set[int]], start: int, end: int) -> bool:
    """Return whether there is a path from one node to another."""
    seen, stack = {start}, [start]
    while stack:
        node = stack.pop()
        if node == end:
            return True
        new = graph.get(node, set()) - seen
        seen |= new
        stack += new
    return False


def concluded(edges: Sequence[Edge], factor: float, removed: Sequence[Edge] = ()) -> list[Edge]:
    """Conclude a > c from a > b and b > c, for completions that were never compared.

    Of all chains between two completions the one with the highest least probability counts, then the shortest.
    The conclusion has that probability, the least margin and the least weight of its chain, the latter two times
    `factor` for each step after the first.

    Args:
        edges: without cycles; one edge for two completions at most. Ties conclude nothing.
        factor: in (0, 1).
        removed: comparisons that were removed to break cycles; nothing is concluded of their completions, since a
            conclusion would contradict a vote.
    """
    compared = {frozenset((edge.better, edge.worse)) for edge in (*edges, *removed)}
    decided: dict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        if edge.strength > EVEN:
            decided[edge.better].append(edge)
    result = []
    for start in sorted(decided):
        for end, chain in _best_chains(start, decided).items():
            if frozenset((start, end)) not in compared and chain.steps > 1:
                fade = factor ** (chain.steps - 1)
                result.append(replace(chain, margin=chain.margin * fade, weight=chain.weight * fade))
    return result


def _best_chains(start: int, decided: Mapping[int, Sequence[Edge]]) -> dict[int, Edge]:
    """The best chain from a node to each other one, as an edge with the least margin and weight of the chain.

    For each probability from the highest on, a breadth-first search over the edges that have at least it: a node
    that it is the first to reach has no chain of a higher least probability, and none of fewer steps at this
    one.
    """
    best: dict[int, Edge] = {}
    for probability in sorted({edge.probability for edges in decided.values() for edge in edges}, reverse=True):
        chains: dict[int, Edge | None] = {start: None}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for edge in decided.get(node, ()):
                if edge.probability >= probability and edge.worse not in chains:
                    chain = chains[node]
                    chains[edge.worse] = edge if chain is None else _joined(chain, edge)
                    queue.append(edge.worse)
        for node, chain in chains.items():
            if chain is not None:
                best.setdefault(node, chain)
    return best


def _joined(chain: Edge, edge: Edge) -> Edge:
    return Edge(
        chain.better,
        edge.worse,
        min(chain.probability, edge.probability),
        min(chain.margin, edge.margin),
        min(chain.weight, edge.weight),
        chain.steps + 1,
    )
