"""Pairs of whole conversations with turns of `from` and `value`, with or without the prompt beside them.

{"prompt": "…", "chosen": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}], "rejected": […]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.types import Preference
from gnomon.data.formats.contract import Format, carried, has_value
from gnomon.data.formats.sharegpt import has_turns, turns_of
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import required

SIDES = ("chosen", "rejected")


class ShareGPTPairs(Format):
    """The turns that both conversations share are the prompt, as in Gnomon's own layout."""

    name = "sharegpt-pairs"
    title = "pairs of ShareGPT conversations"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Two lists of turns with `from` and `value`, and no conversation beside them that they answer."""
        if has_value(row, "conversations", "messages", "instruction"):
            return None
        if all(has_turns(row.get(side)) for side in SIDES):
            return "chosen and rejected hold turns with from and value"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Rename the turns' keys and roles; a prompt beside them may be of such turns too."""
        own: Row = {side: turns_of(required(row, side), side) for side in SIDES}
        if has_turns(row.get("prompt")):
            own["prompt"] = turns_of(row["prompt"], "prompt")
        elif row.get("prompt") is not None:
            own["prompt"] = row["prompt"]
        yield {**carried(row, kind, {"prompt", *SIDES}), **own}
