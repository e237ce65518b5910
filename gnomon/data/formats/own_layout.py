"""Gnomon's own layout where a published one has the same columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.types import Demonstration, Prompt
from gnomon.data.formats.common.question_columns import rating_column
from gnomon.data.formats.contract import Format, has_value
from gnomon.data.reading.row_fields import filled

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


class OwnAnswers(Format):
    """Prompts with completions to imitate, whose columns are also those of answers with ratings."""

    name = GNOMON
    title = "completions to imitate"
    kinds = (Demonstration,)
    general = True

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A prompt and a completion, with a rating that a demonstration does not need."""
        if has_value(row, "prompt") and filled(row.get("completion")) and rating_column(row) is not None:
            return "it has the columns prompt and completion"
        return None
