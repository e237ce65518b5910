"""RM-Bench: three right and three wrong answers to a prompt, in three styles (Liu et al., arXiv 2410.16184)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.types import Preference
from gnomon.data.formats.common.judged_answers import SAME, preference
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import listed, required, text

STYLES = 3  # concise, detailed in plain text, detailed in Markdown


class RMBenchRows(Format):
    """Each right answer is preferred to each wrong one; the nine pairs of a row share a weight of 1."""

    name = "rm-bench"
    title = "RM-Bench rows"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Both sides are lists of three texts, with the domain beside them."""
        sides = [row.get(side) for side in ("chosen", "rejected")]
        styled = all(
            isinstance(side, list) and len(side) == STYLES and all(isinstance(one, str) for one in side)
            for side in sides
        )
        if styled and row.get("prompt") is not None and row.get("domain") is not None:
            return f"chosen and rejected are lists of {STYLES} texts with a domain"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Pair every right answer with every wrong one."""
        prompt = {"prompt": required(row, "prompt")}
        chosen, rejected = (
            [text(one, side) for one in listed(required(row, side), side)] for side in ("chosen", "rejected")
        )
        rows = [preference(prompt, a, b, 1.0) for a, b in itertools.product(chosen, rejected) if a != b]
        if not rows:
            raise UnusedRow(SAME)
        return [{**one, "weight": 1 / len(rows)} for one in rows]
