"""Rows as OpenRLHF reads them: a conversation under `input` or `context_messages`, and an answer under `output`.

{"context_messages": [{"role": "user", "content": "…"}]}, {"input": […], "output": […]}
{"input": "…", "label": "42", "datasource": "math"}; {"prompt": […], "chosen": […], "rejected": […]}

https://github.com/OpenRLHF/OpenRLHF, openrlhf/datasets/
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Preference, Prompt
from gnomon.data.formats.common.conversations import answered, is_messages, most
from gnomon.data.formats.common.media_columns import check_images_in_prompt, media_columns, referring_rows
from gnomon.data.formats.common.record_parts import (
    ANSWERS,
    CALL_IDS,
    MEDIA_OPTIONS,
    PROMPT_IDS,
    RESULT_NAMES,
    STRENGTH,
    completions_of,
)
from gnomon.data.formats.common.writing import (
    check_no_media,
    check_no_tools,
    message_rows,
    strength,
    turns_of_completion,
)
from gnomon.data.formats.contract import Format, carried, has_value, source_column
from gnomon.data.reading.media.parts import media_of
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import filled, required

INPUTS = ("context_messages", "input")
SIDES = ("chosen", "rejected")
TITLE = "OpenRLHF rows"


class OpenRLHF(Format):
    """Prompts, demonstrations and pairs."""

    name = "openrlhf"
    title = TITLE
    kinds = (Demonstration, Prompt, Preference)
    writes = (Demonstration, Prompt, Preference)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Messages under a name of OpenRLHF's, or an input with a reference answer and its source."""
        if has_value(row, "prompt", "messages", "instruction", "conversations"):
            return None
        key = next((key for key in INPUTS if is_messages(row.get(key))), None)
        if key is not None:
            return f"{key} holds messages"
        if isinstance(row.get("input"), str) and "output" not in row and has_value(row, "label", "datasource"):
            return "input is a prompt, with a reference answer in label" if "datasource" in row else None
        return None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Pairs by the columns; a conversation that ends with an answer is a demonstration, else a prompt."""
        if most(rows, *SIDES):
            return Preference
        answers = sum(filled(row.get("output")) or _ends_with_answer(row) for row in rows)
        return Demonstration if 2 * answers >= len(rows) else Prompt

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Rename the columns; `label` is the known answer of a prompt."""
        source = next((key for key in INPUTS if has_value(row, key)), None) or source_column(row, INPUTS[::-1])
        content = required(row, source)
        if kind is Prompt:
            answer = row.get("label")
            known = {} if answer in (None, "") else {"answer": str(answer)}
            yield {**carried(row, kind, {source, "label"}), "prompt": content, **known}
        elif kind is Preference:
            sides = {side: required(row, side) for side in SIDES}
            yield {**carried(row, kind, {source, *SIDES}), "prompt": content, **sides}
        elif filled(row.get("output")):
            own = {"prompt": content, "completion": row["output"]}
            yield {**carried(row, kind, {source, "output"}), **own}
        elif is_messages(content):
            yield {**carried(row, kind, {source, "output"}), "messages": answered(row, content)}
        else:
            raise DataError(f"{source} has no answer; a demonstration has an output")

    def keeps(self, kind: type) -> Collection[str]:
        """Columns for the strength; prompts alone have an id and a known answer."""
        return {
            CALL_IDS,
            RESULT_NAMES,
            *STRENGTH,
            *([PROMPT_IDS, ANSWERS, MEDIA_OPTIONS] if kind is Prompt else []),
        }

    def write(self, record: Any) -> Row:
        """Write messages; an answer of several turns goes under `input` whole, for OpenRLHF's `multiturn`.

        Prompts alone have images, which the trainers of PPO read.
        """
        prompt = record if isinstance(record, Prompt) else record.prompt
        check_no_tools(prompt, TITLE)
        if isinstance(record, Prompt):
            check_images_in_prompt(prompt.messages, (), TITLE)
            images = media_columns(media_of(prompt.messages))
            turns = (referring_rows if images else message_rows)(prompt.messages)
            known = {"label": prompt.answer or "", "datasource": "default"}
            return {"id": prompt.id, "input": turns, **images, **known}
        answers = [turn for one in completions_of(record) for turn in turns_of_completion(one)]
        check_no_media([*prompt.messages, *answers], f"{TITLE} with answers")
        before = message_rows(prompt.messages)
        if isinstance(record, Preference):
            return {"prompt": before, **{s: _answer(getattr(record, s)) for s in SIDES}, **strength(record)}
        answer = _answer(record.completion)
        if len(answer) == 1:
            return {"input": before, "output": answer, **strength(record)}
        if any(turn.role == "assistant" for turn in prompt.messages):
            raise DataError(
                f"{TITLE} of several turns are learned in every turn of the assistant, but one of the prompt's "
                "is not to be learned"
            )
        return {"input": [*before, *answer], **strength(record)}


def _ends_with_answer(row: Mapping[str, Any]) -> bool:
    content: Any = next((row[key] for key in INPUTS if has_value(row, key)), None)
    return is_messages(content) and bool(content[-1].get("role") == "assistant")


def _answer(completion: Any) -> list[Row]:
    turns = turns_of_completion(completion)
    if any(turn.train is False for turn in turns):
        raise DataError(f"{TITLE} have no marks of turns, and a turn of the assistant is not to be learned")
    return [{key: value for key, value in row.items() if key != "train"} for row in message_rows(turns)]
