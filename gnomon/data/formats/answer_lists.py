"""Prompts with lists of chosen and rejected answers.

{"prompt": "…", "chosen": ["…", "…"], "rejected": ["…"]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.formats.common.conversations import is_answer_list, is_messages
from gnomon.data.formats.contract import Format, UnusedRow, carried, has_value, source_column
from gnomon.data.formats.prompt_response import QUESTIONS, question_key
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import listed, number, required

SIDES = ("chosen", "rejected")


class AnswerLists(Format):
    """Every chosen answer is paired with every rejected one; the pairs share the weight of their row."""

    name = "answer-lists"
    title = "lists of chosen and rejected answers"
    kinds = (Preference,)
    general = True

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """One side is a list of answers, and neither is a conversation."""
        if question_key(row) is None or not all(has_value(row, side) for side in SIDES):
            return None
        lists = [side for side in SIDES if is_answer_list(row[side])]
        if not lists or any(is_messages(row[side]) for side in SIDES):
            return None
        return f"{' and '.join(lists)} {'are lists' if len(lists) == 2 else 'is a list'} of answers"

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row | DataError]:
        """Make all pairs; two equal answers are no pair."""
        question = source_column(row, QUESTIONS)
        chosen, rejected = (_answers(required(row, side), side) for side in SIDES)
        pairs = [(good, bad) for good in chosen for bad in rejected]
        count = sum(good != bad for good, bad in pairs)
        rest = carried(row, kind, {question, *SIDES, "weight"})
        weight = number(row, "weight", 1.0, 0.0, 1e9) / max(count, 1)
        for good, bad in pairs:
            if good == bad:
                yield UnusedRow("the same answer is chosen and rejected")
            else:
                yield {
                    **rest,
                    "prompt": required(row, question),
                    "chosen": good,
                    "rejected": bad,
                    "weight": weight,
                }


def _answers(value: Any, key: str) -> list[Any]:
    answers = value if is_answer_list(value) else [value]
    if not answers:
        raise UnusedRow(f"{key} has no answers")
    return listed(answers, key)
