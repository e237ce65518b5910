"""Columns of media in written rows: marks in texts, or parts of contents, refer to their values in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gnomon.core.errors import DataError
from gnomon.core.types import MediaPart, Message
from gnomon.data.formats.common.writing import check_no_media
from gnomon.data.reading.media.parts import (
    Part,
    content_parts,
    described,
    kind_of_part,
    media_of,
    options_of,
    segments,
    value_key,
)
from gnomon.data.reading.media.references import MARKS
from gnomon.data.reading.messages import message_row
from gnomon.data.reading.readers import Row


def marked_turns(turns: Sequence[Message], layout: str) -> tuple[tuple[Message, ...], Row]:
    """Return messages with `<image>`, `<audio>` and `<video>` for their media, and the columns with the values.

    Args:
        turns: of one row, in the order in which they are read.
        layout: name of the layout, for messages.

    Raises:
        DataError: the system's message has media, or a text has such a mark of its own.
    """
    if not (media := media_of(turns)):
        return tuple(turns), {}
    check_no_media([turn for turn in turns if turn.role == "system"], layout, " in the system's message")
    mark = next((mark for mark in MARKS.values() for turn in turns if mark in turn.content), None)
    if mark is not None:
        raise DataError(
            f"{layout} put {mark} in the stead of media, and a text beside {described(media)} has it too"
        )
    return tuple(map(_marked, turns)), media_columns(media)


def _marked(turn: Message) -> Message:
    pieces = [one if isinstance(one, str) else MARKS[one.kind] for one in segments(turn)]
    return replace(turn, content="".join(pieces), media=())


def media_columns(media: Sequence[MediaPart]) -> Row:
    """Return the columns `images`, `audios` and `videos` with the values of some media, without empty ones."""
    return {f"{kind}s": values for kind in MARKS if (values := [one.source for one in media if one.kind == kind])}


def referring_rows(turns: Sequence[Message]) -> list[Row]:
    """Convert messages to objects whose contents are all parts, those of media without their values."""
    return [{**message_row(turn), "content": content_parts(turn, _referring)} for turn in turns]


def _referring(media: MediaPart) -> Part:
    part = {"type": media.kind, **options_of(media)}
    kind = kind_of_part(part)
    if kind is None or value_key(part, kind) is not None:
        raise DataError(
            f"the {media.kind} {media.source:.40} has options that are read as its value: {media.options:.80}"
        )
    return part


def check_images_in_prompt(turns: Sequence[Message], answers: Sequence[Message], layout: str) -> None:
    """Refuse media other than images of the prompt, outside of results of tools.

    Args:
        turns: of the prompt.
        answers: turns of all completions.
        layout: name of the layout, for messages.

    Raises:
        DataError: there are others.
    """
    check_no_media(answers, layout, " in an answer")
    check_no_media([turn for turn in turns if turn.role == "tool"], layout, " in a tool's result")
    if any(one.kind != "image" for one in media_of(turns)):
        raise DataError(f"{layout} have images alone, and it has {described(media_of(turns))}")
