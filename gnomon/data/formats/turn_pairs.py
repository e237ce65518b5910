"""Conversations as lists of a user's text with its answer, as in Capybara.

{"conversation": [{"input": "…", "output": "…"}, {"input": "…", "output": "…"}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration
from gnomon.data.formats.chatml import NAMED_MESSAGES
from gnomon.data.formats.contract import Format, carried, has_value
from gnomon.data.formats.sharegpt import has_turns
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import listed, mapping, required

PAIRS = (("input", "output"), ("prompt", "response"), ("question", "answer"), ("instruction", "output"))
COLUMNS = (*NAMED_MESSAGES, "turns")


class TurnPairs(Format):
    """Every answer of a conversation is learned, as in other layouts of conversations."""

    name = "turn-pairs"
    title = "conversations of inputs with outputs"
    kinds = (Demonstration,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A list of objects with two keys of a turn, and no prompt or messages beside it."""
        column = _column(row)
        if column is None or has_value(row, "messages", "prompt", "completion", "chosen", "rejected"):
            return None
        return f"{column} holds {' with '.join(_keys(row[column][0]) or ())}"

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Make two messages of each pair."""
        column = _column(row)
        if column is None:
            raise DataError(f"it has no list of inputs with outputs under {', '.join(COLUMNS)}")
        turns: list[Row] = []
        for cell in listed(row[column], column):
            pair = mapping(cell)
            question, answer = _keys(pair) or PAIRS[0]
            turns.append({"role": "user", "content": required(pair, question)})
            turns.append({"role": "assistant", "content": required(pair, answer)})
        yield {**carried(row, kind, {column}), "messages": turns}


def _column(row: Mapping[str, Any]) -> str | None:
    return next((name for name in COLUMNS if _has_pairs(row.get(name))), None)


def _has_pairs(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and not has_turns(value) and _keys(value[0]) is not None


def _keys(turn: Any) -> tuple[str, str] | None:
    """Return the keys of a user's text and its answer in one turn."""
    if not isinstance(turn, Mapping) or "role" in turn:
        return None
    return next((pair for pair in PAIRS if all(isinstance(turn.get(key), str) for key in pair)), None)
