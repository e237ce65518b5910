"""RewardBench 2: several right and several wrong answers to a prompt (Malik et al. 2025, arXiv 2506.01937)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.types import Preference
from gnomon.data.formats.common.judged_answers import SAME, preference
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import listed, required, text

TIES = "ties"  # the subset whose right answers are all equally good
COUNTS = ("num_correct", "num_incorrect")


class RewardBench2(Format):
    """Each chosen answer of a list is preferred to each rejected one; the pairs of a row share a weight of 1.

    In the subset `Ties` the chosen answers are equally good, and each two of them are a tie.
    """

    name = "rewardbench2"
    title = "RewardBench 2 rows"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Both sides are lists, with their lengths and the subset beside them."""
        lists = all(isinstance(row.get(side), list) for side in ("chosen", "rejected"))
        if lists and all(row.get(key) is not None for key in ("prompt", "subset", *COUNTS)):
            return "chosen and rejected are lists with num_correct, num_incorrect and a subset"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Pair every chosen answer with every rejected one."""
        prompt = {"prompt": required(row, "prompt")}
        chosen, rejected = (
            [text(one, side) for one in listed(required(row, side), side)] for side in ("chosen", "rejected")
        )
        pairs = [(a, b, 1.0) for a, b in itertools.product(chosen, rejected)]
        if str(row.get("subset")).lower() == TIES:
            pairs += [(a, b, 0.5) for a, b in itertools.combinations(chosen, 2)]
        rows = [preference(prompt, a, b, share) for a, b, share in pairs if a != b]
        if not rows:
            raise UnusedRow(SAME if pairs else "one of its lists is empty")
        return [{**one, "weight": 1 / len(rows)} for one in rows]
