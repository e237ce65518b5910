"""Parts of records for the writers of formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Demonstration, Label, Message, Preference, Prompt
from gnomon.data.reading.media.parts import described, media_of
from gnomon.data.reading.messages import context_row, message_row
from gnomon.data.reading.readers import Row

PLAIN = {"role", "content"}


def turns_of_completion(completion: Completion) -> tuple[Message, ...]:
    """Return a completion's turns: one of the assistant, unless it has several."""
    return completion.turns or (Message("assistant", completion.text),)


def message_rows(turns: Sequence[Message]) -> list[Row]:
    """Convert messages to objects with role, content, and what else they have."""
    return [message_row(turn) for turn in turns]


def conversation_of(record: Demonstration, layout: str) -> tuple[Message, ...]:
    """Return a demonstration as one conversation, in which every turn of the assistant is learned.

    Args:
        record: the demonstration.
        layout: name of the layout, for messages.

    Raises:
        DataError: the prompt has a turn of the assistant, which is not learned.
    """
    if any(turn.role == "assistant" for turn in record.prompt.messages):
        raise DataError(
            f"{layout} are learned in every turn of the assistant, but one of the prompt's is not to be learned"
        )
    return (*record.prompt.messages, *turns_of_completion(record.completion))


def check_no_media(turns: Sequence[Message], layout: str, part: str = "") -> None:
    """Refuse messages with images, sounds or videos.

    Args:
        turns: the messages.
        layout: name of the layout, for messages.
        part: of the record, where others may have them, as ` in an answer`.

    Raises:
        DataError: one has; the message counts them.
    """
    if media := described(media_of(turns)):
        raise DataError(f"{layout} have no place for media{part}, and it has {media}")


def check_plain(turn: Message, layout: str) -> None:
    """Refuse a message that has more than a role and a text.

    Raises:
        DataError: it has; the message names the keys.
    """
    check_no_media([turn], layout)
    others = [key for key in message_row(turn) if key not in PLAIN and (key, turn.train) != ("train", True)]
    if others:
        raise DataError(f"{layout} have no place for {' or '.join(others)}, which a turn has")


def check_no_tools(prompt: Prompt, layout: str) -> None:
    """Refuse a prompt that has more than messages, such as tools.

    Raises:
        DataError: it has; the message names it.
    """
    if others := list(context_row(prompt)):
        raise DataError(f"{layout} have no place for {' or '.join(others)}, which the prompt has")


def tools_column(prompt: Prompt, layout: str) -> Row:
    """Return the column `tools` with a prompt's tools as JSON text; no column if it has none.

    Raises:
        DataError: the prompt has variables of the chat template, which the layout has not.
    """
    tools = context_row(prompt).get("tools")
    check_no_tools(replace(prompt, tools=()), layout)
    return {"tools": json.dumps(tools, ensure_ascii=False)} if tools else {}


def strength(record: Demonstration | Label | Preference) -> Row:
    """Return the columns that say how much a record counts, which other tools ignore.

    Raises:
        DataError: a preference without a side that people prefer, which other tools would learn as one.
    """
    if isinstance(record, Preference):
        check_preferred(record)
        tie = {"tie": record.tie} if record.tie else {}
        return {"margin": record.margin, "probability": record.probability, "weight": record.weight, **tie}
    return {"weight": record.weight}


def check_preferred(record: Preference) -> None:
    """Refuse a preference whose chosen completion people do not prefer.

    Raises:
        DataError: its probability is 0.5 or less.
    """
    if record.probability <= 0.5:
        raise DataError(
            f"chosen is preferred with probability {record.probability:g}, which tools without soft labels would "
            "learn as a preference"
        )


def final_answer(completion: Completion, layout: str) -> Message:
    """Return the only turn of a completion.

    Raises:
        DataError: it has several.
    """
    turns = turns_of_completion(completion)
    if len(turns) > 1:
        raise DataError(f"{layout} have one turn in an answer, and this one has {len(turns)}")
    return turns[0]
