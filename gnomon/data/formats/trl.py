"""Rows as TRL reads them: messages under `prompt`, `completion`, `chosen`, `rejected`, and `label`.

Gnomon's own layout has the same names, so files of such rows are read without this format; it writes them.
https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Demonstration, Label, Message, Preference, Prompt
from gnomon.data.formats.common.conversations import most
from gnomon.data.formats.common.media_columns import check_images_in_prompt, media_columns, referring_rows
from gnomon.data.formats.common.record_parts import (
    ANSWERS,
    CALL_IDS,
    MEDIA_OPTIONS,
    PROMPT_IDS,
    RESULT_NAMES,
    STRENGTH,
    completions_of,
    record_media,
)
from gnomon.data.formats.common.writing import conversation_of, message_rows, strength, turns_of_completion
from gnomon.data.formats.contract import Format, carried
from gnomon.data.reading.media.parts import media_of
from gnomon.data.reading.messages import context_row
from gnomon.data.reading.readers import Row

TITLE = "TRL rows"
RowsOf = Callable[[Sequence[Message]], list[Row]]
COLUMNS = ("prompt", "completion", "chosen", "rejected", "messages", "label")


class TRL(Format):
    """Prompts, prompts with completions, pairs and labels, all as messages."""

    name = "trl"
    title = TITLE
    kinds = (Preference, Label, Demonstration, Prompt)
    writes = (Preference, Label, Demonstration, Prompt)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """None: the columns are those of Gnomon's own layout."""
        return None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """By the columns, as TRL does."""
        if most(rows, "chosen", "rejected"):
            return Preference
        if most(rows, "label"):
            return Label
        return Demonstration if most(rows, "completion", "messages") else Prompt

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Return the row as it is."""
        yield {**carried(row, kind, COLUMNS), **{key: row.get(key) for key in COLUMNS if key in row}}

    def keeps(self, kind: type) -> Collection[str]:
        """Columns for all but the ids and sources of texts; prompts alone have an id."""
        return {
            ANSWERS,
            CALL_IDS,
            MEDIA_OPTIONS,
            RESULT_NAMES,
            *STRENGTH,
            *([PROMPT_IDS] if kind is Prompt else []),
        }

    def write(self, record: Any) -> Row:
        """Write messages; margins, probabilities and weights are columns, of which TRL reads `margin`.

        Images stand under `images`, and all contents of such a row are parts, as a table needs it. An answer of
        several turns with images is one conversation under `messages`, where TRL looks for images in every turn.
        """
        if isinstance(record, Demonstration) and len(record.completion.turns or ()) > 1 and record_media(record):
            return _conversation(record)
        prompt = record if isinstance(record, Prompt) else record.prompt
        completions = completions_of(record)
        images = media_columns(media_of(prompt.messages))
        answers = [turn for one in completions for turn in turns_of_completion(one)]
        check_images_in_prompt(prompt.messages, answers, TITLE)
        rows_of = referring_rows if images else message_rows
        if isinstance(record, Prompt):
            return {"id": record.id, **images, "prompt": rows_of(record.messages), **_columns(record)}
        row: Row = {**images, "prompt": rows_of(record.prompt.messages)}
        if isinstance(record, Preference):
            row |= {"chosen": _answer(record.chosen, rows_of), "rejected": _answer(record.rejected, rows_of)}
        else:
            row["completion"] = _answer(record.completion, rows_of)
        if isinstance(record, Label):
            row["label"] = record.good
        return {**row, **strength(record), **_columns(record.prompt)}


def _conversation(record: Demonstration) -> Row:
    """Write prompt and answer as one conversation, with the images of all turns."""
    turns = conversation_of(record, TITLE)
    check_images_in_prompt(turns, (), TITLE)
    check_learned(turns)
    rows = [{key: value for key, value in row.items() if key != "train"} for row in referring_rows(turns)]
    return {**media_columns(media_of(turns)), "messages": rows, **strength(record), **_columns(record.prompt)}


def _columns(prompt: Prompt) -> Row:
    """Return the columns of a prompt beside its messages: its known answer and its tools."""
    answer = {} if prompt.answer is None else {"answer": prompt.answer}
    return {**answer, **context_row(prompt)}


def check_learned(turns: Sequence[Message]) -> None:
    """Refuse turns of the assistant that are not to be learned.

    Raises:
        DataError: there is one, which TRL cannot be told.
    """
    if any(turn.train is False for turn in turns):
        raise DataError("TRL rows have no marks of turns, and a turn of the assistant is not to be learned")


def _answer(completion: Completion, rows_of: RowsOf) -> list[Row]:
    """Return a completion's messages.

    Args:
        completion: the completion.
        rows_of: writes messages.

    Raises:
        DataError: a turn of the assistant is not to be learned, which TRL cannot be told.
    """
    turns = turns_of_completion(completion)
    check_learned(turns)
    return [{key: value for key, value in row.items() if key != "train"} for row in rows_of(turns)]
