"""Plain texts for language modeling, `{"text": "…"}`, which have no prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration
from gnomon.data.formats.chatml import is_chatml
from gnomon.data.formats.contract import Format, has_value
from gnomon.data.reading.readers import Row

OTHER_KINDS = (
    "prompt", "messages", "completion", "completions", "chosen", "rejected", "ratings", "rating", "value",
    "label", "good", "conversations", "instruction", "question", "query", "input", "response", "output",
    "answer", "turns",
)  # fmt: skip


class PlainText(Format):
    """Texts that continue nothing. They are named and refused: what is learned is an answer to a prompt."""

    name = "text"
    title = "plain texts"
    kinds = (Demonstration,)
    general = True

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A text, and nothing of any kind of record."""
        text = row.get("text")
        if isinstance(text, str) and not is_chatml(text) and not has_value(row, *OTHER_KINDS):
            return "text is the only column with a text of its own"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Refuse the row with what to do."""
        raise DataError(
            "text has no prompt, and a model learns answers to prompts; to learn whole texts as answers to one "
            'prompt, map the columns: --columns "prompt={constant: Continue.}" --columns completion=text'
        )
