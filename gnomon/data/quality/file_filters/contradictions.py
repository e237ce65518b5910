"""Preferences of one prompt that contradict each other, directly or in a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gnomon.core.lazy import sparse
from gnomon.core.types import Preference
from gnomon.data.quality.contract import Candidates, Decision, FileFilter, Part, Row
from gnomon.data.quality.texts import digest, media_key, parts_of
from gnomon.data.reading.media.parts import media_of


class Contradictions(FileFilter):
    """Finds preferences of a prompt that another one reverses, or that form a cycle: a > b, b > c, c > a.

    Votes of several people on a pair may rightly differ: aggregate them before looking for contradictions.
    """

    name: ClassVar[str] = "contradictions"
    part: ClassVar[Part] = "consistent"
    kinds: ClassVar[tuple[type, ...]] = (Preference,)
    turn: ClassVar[int] = 50

    @property
    def width(self) -> int:
        """Two numbers."""
        return 2

    def features(self, record: Any, row: Row) -> Sequence[int]:
        """Digests of the chosen and the rejected completion, each with the prompt; 0 and 0 for an even pair."""
        if record.probability == 0.5:
            return 0, 0
        prompt, chosen, rejected = parts_of(record)
        prompt += media_key(record.prompt)
        first, second = (repr(media_of(one.turns or ())) for one in (record.chosen, record.rejected))
        sides = digest(prompt, chosen, first), digest(prompt, rejected, second)
        return sides if record.probability > 0.5 else sides[::-1]

    def decide(self, candidates: Candidates) -> Decision:
        """Find the preferences inside strongly connected components of the graph of completions."""
        rows = np.flatnonzero(candidates.remaining & (candidates.features.any(axis=1)))
        edges = candidates.features[rows]
        rows, edges = rows[edges[:, 0] != edges[:, 1]], edges[edges[:, 0] != edges[:, 1]]
        if not len(rows):
            return Decision(figures={"contradictions": 0, "in_cycles": 0})
        _, ends = np.unique(edges, return_inverse=True)
        ends = ends.reshape(-1, 2)
        count = int(ends.max()) + 1
        graph = sparse.coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
        _, component = sparse.csgraph.connected_components(graph, directed=True, connection="strong")
        codes = ends[:, 0].astype(np.int64) * count + ends[:, 1]
        reverse = ends[:, 1].astype(np.int64) * count + ends[:, 0]
        ordered = np.argsort(codes, kind="stable")
        at = np.searchsorted(codes[ordered], reverse).clip(max=len(codes) - 1)
        partner = np.where(codes[ordered][at] == reverse, ordered[at], -1)
        circular = component[ends[:, 0]] == component[ends[:, 1]]
        reasons = {}
        for edge in np.flatnonzero(circular):
            where = candidates.where(int(rows[partner[edge]])) if partner[edge] >= 0 else ""
            reasons[int(rows[edge])] = f"{where} prefers the other side" if where else "it is part of a cycle"
        direct = int(((partner >= 0) & circular).sum())
        return Decision(reasons, figures={"contradictions": direct, "in_cycles": int(circular.sum()) - direct})
