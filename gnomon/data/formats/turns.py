"""Questions of several turns, as MT-Bench has them.

{"question_id": 81, "category": "writing", "turns": ["…", "…"]}

Zheng et al. 2023, arXiv 2306.05685; https://github.com/lm-sys/FastChat
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Prompt
from gnomon.data.formats.contract import Format, carried, has_value
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import listed, note_unread, required, text


class QuestionTurns(Format):
    """A list of a user's turns. The first is the prompt: the later ones follow answers that are not there."""

    name = "turns"
    title = "questions of several turns"
    kinds = (Prompt,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A list of texts under `turns`, and no prompt or answer beside it."""
        turns = row.get("turns")
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
            return None
        if has_value(row, "prompt", "messages", "completion", "chosen", "rejected"):
            return None
        return "turns is a list of a user's texts"

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Take the first turn as the prompt; later turns are reported as not read."""
        turns = listed(required(row, "turns"), "turns")
        if not turns:
            raise DataError("turns is empty")
        if len(turns) > 1:
            note_unread(row, "turns after the first")
        number = row.get("question_id")
        named = {} if number is None else {"id": str(number)}
        yield {**carried(row, kind, {"turns"}), **named, "prompt": text(turns[0], "turns")}
