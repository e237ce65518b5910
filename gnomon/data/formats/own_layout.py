"""Gnomon's own layout where a published one has the same columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.types import Prompt
from gnomon.data.formats.contract import Format, has_value

OWN_TITLE = "Gnomon's own layout"
GNOMON = "gnomon"  # the name of Gnomon's own layout
OTHER_KINDS = (
    "completion", "completions", "chosen", "rejected", "messages", "label", "good", "ratings", "rating",
)  # fmt: skip


class OwnPrompts(Format):
    """Prompts with known answers, whose columns are also those of questions with answers to imitate."""

    name = GNOMON
    title = "prompts with known answers"
    kinds = (Prompt,)
    general = True

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A prompt with an answer, and nothing that another kind of record has."""
        if has_value(row, "prompt") and has_value(row, "answer") and not has_value(row, *OTHER_KINDS):
            return "a reward may compare with answer"
        return None
