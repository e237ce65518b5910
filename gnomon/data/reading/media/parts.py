"""The content of a message in parts, as chat APIs and transformers have it: texts, and media between them.

{"type": "text", "text": "…"}, {"type": "image", "image" or "url": "…"}, {"type": "image_url", "image_url":
{"url": "…"}}, {"type": "input_audio", "input_audio": {"data": "…", "format": "wav"}}, and so on for video.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import MediaKind, MediaPart, Message
from gnomon.data.reading.counting import counted
from gnomon.data.reading.media.values import NOUNS, data_url, media_source
from gnomon.data.reading.row_fields import brief, required, text
from gnomon.data.reading.tools import json_text

Part = dict[str, Any]
TYPES: dict[str, MediaKind] = {
    **{kind: kind for kind in NOUNS}, **{f"{kind}_url": kind for kind in NOUNS}, "input_audio": "audio",
}  # fmt: skip
UNREAD = "which no model here reads"


def kind_of_part(part: Any) -> MediaKind | None:
    """Return what a part of a content is, where it is an image, a sound or a video."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    return TYPES.get(kind) if isinstance(kind, str) else None


def value_key(part: Mapping[str, Any], kind: MediaKind) -> str | None:
    """Return the key under which a part has its value; `None` for a part that refers to a column of its row.

    Args:
        part: of a content.
        kind: what it is.

    Raises:
        DataError: it has several values.
    """
    names = (f"{kind}_url", f"input_{kind}", kind, "url", "path", "base64", "value")
    keys = [name for name in names if part.get(name) not in (None, "")]
    if len(keys) > 1:
        raise DataError(f"a message has a part of the type '{kind}' with {' and '.join(keys)}; keep one of them")
    return keys[0] if keys else None


def parse_content(content: Any) -> tuple[str, tuple[MediaPart, ...]]:
    """Return the text of a message's content, and the media in it.

    Args:
        content: a text, or a list of parts; those that are texts are concatenated.

    Raises:
        DataError: a part is neither a text nor media with a value.
    """
    if not isinstance(content, list):
        return text(content, "content"), ()
    pieces: list[str] = []
    media: list[MediaPart] = []
    position = 0
    for part in content:
        if (kind := kind_of_part(part)) is not None:
            media.append(_media_part(part, kind, position))
        elif isinstance(part, Mapping) and part.get("type", "text") == "text":
            pieces.append(text(required(part, "text"), "content"))
            position += len(pieces[-1])
        else:
            other = brief(part.get("type")) if isinstance(part, Mapping) else brief(part)
            raise DataError(
                f"content is a list with {other} in it, but only parts of the type 'text', 'image', 'audio' and "
                "'video' can be read"
            )
    return "".join(pieces), tuple(media)


def _media_part(part: Mapping[str, Any], kind: MediaKind, position: int) -> MediaPart:
    key = value_key(part, kind)
    if key is None:
        raise DataError(
            f"a message has a part of the type {brief(part['type'])} without a value; give it {kind}, url or "
            f"path, or give the row a column {kind}s"
        )
    name = f"{key} of a message"
    more: Part = {}
    if key == "base64":
        source = data_url(part[key], kind, name)
    else:
        source, more = media_source(part[key], kind, name)
    rest = {str(one): part[one] for one in part if one not in ("type", key) and part[one] is not None}
    return MediaPart(kind, source, position, options_text({**rest, **more}))


def options_text(options: Mapping[str, Any]) -> str:
    """Return the JSON text of what else is known of an image, a sound or a video; empty if there is nothing.

    Raises:
        DataError: JSON cannot hold it, or it is nested too deeply.
    """
    try:
        return json_text(_plain(options), "a part of a message") if options else ""
    except RecursionError:
        raise DataError("a part of a message is nested too deeply") from None


def _plain(value: Any) -> Any:
    """Copy a value of a row into plain objects; all keys in it count as read."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in value}
    return list(map(_plain, value)) if isinstance(value, list) else value


def segments(message: Message) -> Iterator[str | MediaPart]:
    """Yield the texts and media of a message in their order; a text between two media may be empty."""
    start = 0
    for one in message.media:
        yield message.content[start : one.position]
        yield one
        start = one.position
    yield message.content[start:]


def content_value(message: Message, part_of: Callable[[MediaPart], Part] | None = None) -> Any:
    """Return a message's content as a row has it: its text, or its parts if there are media in it.

    Args:
        message: the message.
        part_of: writes a part of media; by default with its value.
    """
    return content_parts(message, part_of) if message.media else message.content


def content_parts(message: Message, part_of: Callable[[MediaPart], Part] | None = None) -> list[Part]:
    """Return a message's content as parts, the text of one without media too; see `content_value`."""
    written = part_of or media_row
    parts = [
        {"type": "text", "text": one} if isinstance(one, str) else written(one)
        for one in segments(message)
        if one != ""
    ]
    return parts or [{"type": "text", "text": ""}]


def media_row(media: MediaPart) -> Part:
    """Return a part with its value, which `parse_content` reads back."""
    return {"type": media.kind, media.kind: media.source, **options_of(media)}


def options_of(media: MediaPart) -> Part:
    """Return what else is known of an image, a sound or a video."""
    options: Part = json.loads(media.options) if media.options else {}
    return options


def map_content(message: Message, change: Callable[[str], str]) -> Message:
    """Return a message with its text changed, piece by piece between its media, which keep their order."""
    pieces: list[str] = []
    media: list[MediaPart] = []
    position = 0
    for one in segments(message):
        if isinstance(one, str):
            pieces.append(change(one))
            position += len(pieces[-1])
        else:
            media.append(replace(one, position=position))
    return replace(message, content="".join(pieces), media=tuple(media))


def shown_content(message: Message) -> str:
    """Return a message's text with the media in it as `[image photo.png]`, for people to read."""
    pieces = [one if isinstance(one, str) else f"[{one.kind} {one.source:.60}]" for one in segments(message)]
    return "".join(pieces)


def shown_turns(turns: Iterable[Message]) -> list[Message]:
    """Return messages with their media as text, see `shown_content`."""
    return [replace(turn, content=shown_content(turn), media=()) for turn in turns]


def described(media: Iterable[MediaPart]) -> str:
    """Return the numbers of images, sounds and videos as in `2 images and 1 sound`; "" for none."""
    counts = Counter(one.kind for one in media)
    named = [counted(counts[kind], noun) for kind, noun in NOUNS.items() if counts[kind]]
    *first, last = named or [""]
    return f"{', '.join(first)} and {last}" if first else last


def media_of(turns: Iterable[Message]) -> tuple[MediaPart, ...]:
    """Return the media of some messages, in their order."""
    return tuple(one for turn in turns for one in turn.media)


def check_read_by_models(turns: Sequence[Message], where: str) -> None:
    """Refuse messages that hold more than texts, which are all that models here read.

    Args:
        turns: the messages.
        where: the row, for messages.

    Raises:
        DataError: one of them has an image, a sound or a video.
    """
    if media := media_of(turns):
        raise DataError(f"{where}: {media_reason(media)}; remove the row.")


def media_reason(media: Iterable[MediaPart]) -> str:
    """Return why a record with these media is not used, as a clause."""
    return f"it has {described(media)}, {UNREAD}"
