"""Images, sounds and videos in the parts of a content: read, written back, refused where they are damaged."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, MediaPart, Message, Prompt
from gnomon.data.reading.conversations import prompt_of
from gnomon.data.reading.media.parts import described, map_content, parse_content, shown_content
from gnomon.data.reading.messages import message_row, messages, stored_message
from gnomon.data.records import parse_record

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
WORDS = {"type": "text", "text": "What is this?"}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def deep(levels: int) -> dict[str, Any]:
    """Objects inside each other."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def only(part: dict[str, Any]) -> MediaPart:
    """The one image, sound or video of a message, which is written and read back."""
    (turn,) = messages([user(WORDS, part)])
    assert turn.content == WORDS["text"]
    assert messages([message_row(turn)]) == (turn,) == (stored_message(message_row(turn)),)
    (media,) = turn.media
    assert media.position == len(WORDS["text"])
    return media


@pytest.mark.parametrize(
    ("part", "kind", "source", "options"),
    [
        ({"type": "image", "image": "a.png"}, "image", "a.png", ""),
        ({"type": "image", "url": "https://x/a.png", "text": None}, "image", "https://x/a.png", ""),
        ({"type": "image", "path": "a.png", "image": None}, "image", "a.png", ""),
        ({"type": "image", "base64": PNG}, "image", f"data:image/png;base64,{PNG}", ""),
        ({"type": "image_url", "image_url": "a.png"}, "image", "a.png", ""),
        (
            {"type": "image_url", "image_url": {"url": "a.png", "detail": "high"}},
            "image",
            "a.png",
            '{"detail": "high"}',
        ),
        ({"type": "image_url", "value": "a.png"}, "image", "a.png", ""),
        (
            {"type": "image", "image": {"bytes": PNG, "path": "a.png"}},
            "image",
            f"data:image/png;base64,{PNG}",
            '{"name": "a.png"}',
        ),
        ({"type": "image", "image": {"bytes": None, "path": "a.png"}}, "image", "a.png", ""),
        ({"type": "image", "image": f"data:image/png;base64,{PNG}"}, "image", f"data:image/png;base64,{PNG}", ""),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            "audio",
            "data:audio/wav;base64,UklGRg==",
            "",
        ),
        ({"type": "audio", "audio": "a.wav"}, "audio", "a.wav", ""),
        (
            {"type": "video", "video": "a.mp4", "fps": 2, "max_pixels": [1, 2]},
            "video",
            "a.mp4",
            '{"fps": 2, "max_pixels": [1, 2]}',
        ),
        ({"type": "video_url", "video_url": {"url": "a.mp4"}}, "video", "a.mp4", ""),
    ],
)
def test_each_shape_of_a_part_is_read_and_written_back(
    part: dict[str, Any], kind: str, source: str, options: str
) -> None:
    media = only(part)
    assert (media.kind, media.source, media.options) == (kind, source, options)


@pytest.mark.parametrize(
    ("start", "kind", "type"),
    [
        (b"\xff\xd8\xff\xe0", "image", "image/jpeg"),
        (b"GIF89a", "image", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "audio", "audio/wav"),
        (b"ID3\x04", "audio", "audio/mpeg"),
        (b"OggS", "audio", "audio/ogg"),
        (b"\x00\x00\x00\x18ftypmp42", "video", "video/mp4"),
        (b"nothing known", "video", "video/octet-stream"),
    ],
)
def test_bytes_become_a_data_url_of_the_type_that_they_start_like(start: bytes, kind: str, type: str) -> None:
    data = base64.b64encode(start).decode()
    assert (
        only({"type": kind, kind: {"bytes": {"base64": data}, "path": None}}).source
        == f"data:{type};base64,{data}"
    )


def test_parts_keep_their_order_and_the_text_its_characters() -> None:
    parts = [
        {"type": "text", "text": "Is "},
        {"type": "image", "image": "a"},
        {"type": "text", "text": "或 "},
        {"type": "text", "text": "like "},
        {"type": "image", "image": "b"},
        {"type": "audio", "audio": "c"},
    ]
    content, media = parse_content(parts)
    assert content == "Is 或 like "
    assert [(one.source, one.position) for one in media] == [("a", 3), ("b", 10), ("c", 10)]
    turn = Message("user", content, media=media)
    assert shown_content(turn) == "Is [image a]或 like [image b][audio c]"
    assert message_row(turn)["content"] == [*parts[:2], {"type": "text", "text": "或 like "}, *parts[4:]]
    assert described(media) == "2 images and 1 sound"
    assert described(media[:1]) == "1 image"
    assert described([*media, MediaPart("video", "d")]) == "2 images, 1 sound and 1 video"


def test_text_changes_between_the_media() -> None:
    turn = Message("user", "me@x.org, you@x.org", media=(MediaPart("image", "a", 9), MediaPart("image", "b", 19)))
    masked = map_content(turn, lambda text: text.replace("me@x.org", "[EMAIL]").replace("you@x.org", "[EMAIL]"))
    assert masked.content == "[EMAIL], [EMAIL]"
    assert shown_content(masked) == "[EMAIL],[image a] [EMAIL][image b]"


def test_prompts_that_differ_in_their_image_alone_are_different() -> None:
    first, second = (prompt_of([user({"type": "image", "image": one}, WORDS)]) for one in "ab")
    moved = prompt_of([user(WORDS, {"type": "image", "image": "a"})])
    plain = prompt_of([user(WORDS)])
    assert len({one.id for one in (first, second, moved, plain)}) == 4
    assert len({one.context for one in (first, second, moved, plain)}) == 4
    assert plain.id == prompt_of(WORDS["text"]).id


def test_an_image_alone_is_a_prompt_and_an_answer() -> None:
    image = {"type": "image", "image": "a.png"}
    assert parse_record(Prompt, {"prompt": [user(image)]}).messages[0].content == ""
    drawn = parse_record(
        Demonstration, {"prompt": "Draw.", "completion": [{"role": "assistant", "content": [image]}]}
    )
    assert [one.source for turn in drawn.completion.turns or () for one in turn.media] == ["a.png"]
    assert drawn.completion.id != parse_record(Demonstration, {"prompt": "Draw.", "completion": ""}).completion.id


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"type": "image"}, "a part of the type 'image' without a value; give it image, url or path"),
        ({"type": "image_url", "image_url": None}, "a part of the type 'image_url' without a value"),
        ({"type": "image", "image": ""}, "a part of the type 'image' without a value"),
        ({"type": "image", "image": 3}, "image of a message has 3 in it, which is no image; give a path, a URL"),
        ({"type": "image", "image": True}, "image of a message has True in it, which is no image"),
        ({"type": "image", "image": ["a.png"]}, "image of a message has a list in it; give a path"),
        ({"type": "image", "image": "a\nb"}, "which is no image"),
        ({"type": "image", "image": " "}, "which is no image"),
        ({"type": "image_url", "image_url": {"detail": "high"}}, "has {'detail': 'high'} in it"),
        ({"type": "image", "image": {"bytes": "no base64!"}}, "'no base64!' in it as bytes, which is not base64"),
        ({"type": "image", "image": {"bytes": ""}}, "as bytes, which is not base64"),
        ({"type": "image", "image": {"bytes": 3}}, "has 3 in it as bytes, which is not base64"),
        ({"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}}, "which is not base64"),
        ({"type": "audio", "audio": {"bytes": None, "path": None}}, "which is no sound"),
        ({"type": "image", "image": "a.png", "url": "b.png"}, "with image and url; keep one of them"),
        ({"type": ["image"]}, "content is a list with"),
        ("a.png", "content is a list with 'a.png' in it"),
        ({"type": "image", "image": "a.png", "deep": deep(5000)}, "a part of a message is nested too deeply"),
        ({"type": "image", "image": "a.png", "size": float("nan")}, "has a value that JSON cannot hold, as NaN"),
        ({"type": "image", "image": deep(5000)}, "which is no image"),
        ({"type": "image", "image": "\ud800"}, "half of a surrogate pair"),
    ],
)
def test_damaged_parts_are_refused_by_name(part: Any, reason: str) -> None:
    with pytest.raises(DataError) as error:
        messages([user(WORDS, part)])
    assert reason in str(error.value)
