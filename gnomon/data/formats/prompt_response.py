"""Prompts with one answer, or a pair of answers, under the names that most data sets give them.

{"question": "…", "answer": "…"}, {"query": "…", "response": "…"}, {"input": "…", "output": "…"},
{"system": "…", "question": "…", "chosen": "…", "rejected": "…"}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.types import Demonstration, Label, Preference, Prompt
from gnomon.data.formats.common.conversations import is_answer_list, most
from gnomon.data.formats.contract import Format, carried, only_column, source_column
from gnomon.data.formats.hh import is_open_transcript
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import filled, required

QUESTIONS = ("prompt", "question", "query", "input")
ANSWERS = ("response", "output", "answer", "reply", "completion")
OTHER_LAYOUTS = ("completions", "messages", "conversations", "instruction")


class PromptResponse(Format):
    """A column for the prompt and one for the response, or the columns `chosen` and `rejected`."""

    name = "prompt-response"
    title = "prompts with responses"
    kinds = (Demonstration, Label, Preference, Prompt)
    general = True

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """One column of each kind, by name, and none of another layout."""
        question, answer = question_key(row), answer_key(row)
        pair = filled(row.get("chosen")) or filled(row.get("rejected"))
        others = OTHER_LAYOUTS if pair else (*OTHER_LAYOUTS, "ratings", "rating")
        if question is None or any(row.get(key) not in (None, "") for key in others):
            return None
        if is_open_transcript(row.get("prompt")):
            return None
        if pair:
            other = question == "prompt" or any(is_answer_list(row.get(side)) for side in ("chosen", "rejected"))
            return None if other or answer else f"it has the columns {question}, chosen and rejected"
        if answer is None or (question, answer) == ("prompt", "completion"):
            return None
        return f"it has the columns {question} and {answer}"

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Preferences where most rows have two responses, labels where most have a label."""
        if most(rows, "chosen", "rejected"):
            return Preference
        return Label if most(rows, "label", "good") else Demonstration

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Rename the columns."""
        question = source_column(row, QUESTIONS)
        if kind is Prompt:  # the response stays, for a reward that compares with it
            yield {**carried(row, kind, {question}), "prompt": required(row, question)}
        elif kind is Preference:
            sides = {side: required(row, side) for side in ("chosen", "rejected")}
            yield {**carried(row, kind, {question, *sides}), "prompt": required(row, question), **sides}
        else:
            answer = answer_key(row) or source_column(row, ANSWERS)
            own = {"prompt": required(row, question), "completion": required(row, answer)}
            yield {**carried(row, kind, {question, answer}), **own}


def question_key(row: Mapping[str, Any]) -> str | None:
    """Return the column of the prompt; `None` if there is none, or more than one is filled."""
    return only_column(row, QUESTIONS)


def answer_key(row: Mapping[str, Any]) -> str | None:
    """Return the column of the response; beside another response, `answer` is the known answer."""
    others = [key for key in ANSWERS if key != "answer"]
    return only_column(row, others if any(filled(row.get(key)) for key in others) else ANSWERS)
