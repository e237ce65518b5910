r"""Prompts as HH transcripts with the answers beside them.

{"prompt": "\n\nHuman: …\n\nAssistant:", "chosen": "…", "rejected": "…"}

Data sets that were made from Anthropic's HH-RLHF have this layout, with pairs, single answers or prompts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Preference, Prompt
from gnomon.data.formats.common.conversations import most
from gnomon.data.formats.contract import Format, UnusedRow, carried
from gnomon.data.formats.hh import START, is_open_transcript, is_transcript, turns_of
from gnomon.data.formats.prompt_response import answer_key
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import required, text


class HHPrompts(Format):
    """A transcript that ends where the assistant's turn starts, and the answers that continue it."""

    name = "hh-prompts"
    title = "prompts as HH transcripts"
    kinds = (Preference, Label, Demonstration, Prompt)
    general = True

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """The prompt starts with a turn of the human and ends with the start of the assistant's."""
        if is_open_transcript(row.get("prompt")):
            return "prompt is a transcript that ends with Assistant:"
        return None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """By the columns beside the prompt."""
        if most(rows, "chosen", "rejected"):
            return Preference
        if most(rows, "label", "good"):
            return Label
        return Demonstration if 2 * sum(answer_key(row) is not None for row in rows) >= len(rows) else Prompt

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Split the transcript of prompt and answer into turns."""
        transcript = text(required(row, "prompt"), "prompt")
        prompt = turns_of(transcript)
        if not prompt:
            raise DataError("the prompt is empty")
        if prompt[-1]["role"] == "assistant" and not prompt[-1]["content"].strip():
            prompt = prompt[:-1]
        keys = ("chosen", "rejected") if kind is Preference else (answer_key(row) or "completion",)
        if kind is Prompt:
            yield {**carried(row, kind, {"prompt"}), "prompt": prompt}
            return
        answers = [turns_of(_whole(transcript, text(required(row, key), key))) for key in keys]
        if kind is Preference and answers[0] == answers[1]:
            raise UnusedRow("chosen and rejected are the same answer")
        names = keys if kind is Preference else ("completion",)
        sides = {name: answer[len(prompt) :] for name, answer in zip(names, answers, strict=True)}
        yield {**carried(row, kind, {"prompt", *keys}), "prompt": prompt, **sides}


def _whole(prompt: str, answer: str) -> str:
    """Return the transcript of a prompt and its answer, which may repeat the prompt."""
    if is_transcript(answer) and answer.strip().startswith(prompt.strip()):
        return answer
    return prompt + answer if prompt.rstrip().endswith(START) else f"{prompt.rstrip()}{START} {answer}"
