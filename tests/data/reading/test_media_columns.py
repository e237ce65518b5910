"""Columns of images, sounds and videos: each value goes to the message that refers to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Message, NamedScores, Preference, Prompt, Ranking, RatedText
from gnomon.data.inspection import Inspection
from gnomon.data.reading.media.parts import shown_content
from gnomon.data.record_rows import record_row
from gnomon.data.records import completions_of, parse_record, prompt_of_record, record_media

IMAGE = {"type": "image"}


def chat(*turns: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


def words(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def shown(record: Any) -> list[str]:
    """The turns of a record's prompt, then those of each completion, with their media as text."""
    turns: list[Message] = [*prompt_of_record(record).messages]  # type: ignore[union-attr]
    for one in completions_of(record):
        turns += one.turns or (Message("assistant", one.text),)
    return [shown_content(turn) for turn in turns]


QUESTION, ANSWER, OTHER = ("user", "Q"), ("assistant", "A"), ("assistant", "B")
MARKED = ("user", "<image>Q")
KINDS: list[tuple[str, type, dict[str, Any], list[str]]] = [
    (
        "TRL: parts without a value, in the order of the column",
        Demonstration,
        {
            "images": ["a", "b"],
            "prompt": chat(("user", [IMAGE, words("Q"), IMAGE])),
            "completion": chat(ANSWER),
        },
        ["[image a]Q[image b]", "A"],
    ),
    (
        "TRL: texts, before whose first user's turn the images stand",
        Preference,
        {
            "images": ["a", "b"],
            "prompt": chat(("system", "S"), QUESTION),
            "chosen": chat(ANSWER),
            "rejected": "B",
        },
        ["S", "[image a][image b]Q", "A", "B"],
    ),
    (
        "a part with a value takes none of the column",
        Prompt,
        {"images": ["b"], "prompt": chat(("user", [{"type": "image", "image": "a"}, IMAGE, words("Q")]))},
        ["[image a][image b]Q"],
    ),
    (
        "LLaMA-Factory: marks in several turns",
        Demonstration,
        {"images": ["a", "b"], "messages": chat(MARKED, ANSWER, ("user", "R<image>"), OTHER)},
        ["[image a]Q", "A", "R[image b]", "B"],
    ),
    (
        "all three kinds, each with marks of its own",
        Demonstration,
        {
            "images": ["a"],
            "audios": ["b"],
            "videos": ["c"],
            "messages": chat(("user", "<video><image>Q<audio>"), ANSWER),
        },
        ["[video c][image a]Q[audio b]", "A"],
    ),
    (
        "all three kinds without marks",
        Prompt,
        {"video": "c", "audio": "b", "image": "a", "prompt": "Q"},
        ["[image a][audio b][video c]Q"],
    ),
    ("one image as a text", Prompt, {"images": "a", "prompt": "Q"}, ["[image a]Q"]),
    ("a list as JSON text", Prompt, {"images": '["a", "b"]', "prompt": "Q"}, ["[image a][image b]Q"]),
    (
        "an image as datasets stores it",
        Prompt,
        {"image": {"bytes": None, "path": "a"}, "prompt": "Q"},
        ["[image a]Q"],
    ),
    (
        "marks in both sides of whole conversations",
        Preference,
        {"images": ["a"], "chosen": chat(MARKED, ANSWER), "rejected": chat(MARKED, OTHER)},
        ["[image a]Q", "A", "B"],
    ),
    (
        "no marks in both sides of whole conversations",
        Preference,
        {"images": ["a"], "prompt": "Q", "chosen": chat(QUESTION, ANSWER), "rejected": chat(QUESTION, OTHER)},
        ["[image a]Q", "A", "B"],
    ),
    (
        "a prompt beside whole conversations, all with the mark",
        Preference,
        {"images": ["a"], "prompt": "<image>Q", "chosen": chat(MARKED, ANSWER), "rejected": chat(MARKED, OTHER)},
        ["[image a]Q", "A", "B"],
    ),
    (
        "a question beside the messages that hold it",
        Demonstration,
        {"images": ["a"], "prompt": "Q", "messages": chat(("user", "<image>Q"), ANSWER)},
        ["[image a]Q", "A"],
    ),
    (
        "an image in an answer",
        Label,
        {"images": ["a", "b"], "prompt": "<image>Q", "completion": "See <image>.", "label": True},
        ["[image a]Q", "See [image b]."],
    ),
    (
        "a ranking",
        Ranking,
        {"image": "a", "prompt": "Q", "completions": ["A", "B", "C"]},
        ["[image a]Q", "A", "B", "C"],
    ),
    (
        "an answer with named scores",
        NamedScores,
        {"image": "a", "prompt": "Q", "completion": "A", "scores": {"help": 1}},
        ["[image a]Q", "A"],
    ),
    ("a rated text", RatedText, {"image": "a", "prompt": "Q", "text": "A", "rating": 3}, ["[image a]Q"]),
    (
        "a prompt with an id",
        Prompt,
        {"image": "a", "prompt": {"id": "1", "messages": chat(QUESTION)}},
        ["[image a]Q"],
    ),
    (
        "marks of the system's message are text",
        Prompt,
        {"images": ["a"], "prompt": chat(("system", "Write <image>."), MARKED)},
        ["Write <image>.", "[image a]Q"],
    ),
    (
        "a mark beside parts without a value is text",
        Prompt,
        {"images": ["a"], "prompt": chat(("user", [IMAGE, words("Write <image>.")]))},
        ["[image a]Write <image>."],
    ),
    ("a mark without a column is text", Prompt, {"prompt": "<image>Q<video>"}, ["<image>Q<video>"]),
    (
        "an empty column is none",
        Prompt,
        {"images": [], "image": None, "audio": "", "prompt": "<image>Q"},
        ["<image>Q"],
    ),
    (
        "a mark of another kind is text",
        Prompt,
        {"images": ["a"], "prompt": "<image>Q<video>"},
        ["[image a]Q<video>"],
    ),
]


@pytest.mark.parametrize(("kind", "row", "turns"), [case[1:] for case in KINDS], ids=[case[0] for case in KINDS])
def test_values_go_to_the_messages_that_refer_to_them(kind: type, row: dict[str, Any], turns: list[str]) -> None:
    record: Any = parse_record(kind, row)
    assert shown(record) == turns
    again: Any = parse_record(kind, record_row(record))
    assert again == record
    assert record_media(again) == record_media(record)


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (
            Prompt,
            {"images": ["a", "b"], "prompt": "<image>Q"},
            "images has 2 images, where the messages of the row refer to 1; write one <image> for each",
        ),
        (Prompt, {"images": ["a"], "prompt": "<image><image>Q"}, "images has 1 image, where the messages"),
        (Prompt, {"videos": ["a", "b"], "prompt": chat(("user", [{"type": "video"}, words("Q")]))}, "2 videos"),
        (
            Demonstration,
            {"audio": "a", "prompt": "<audio>Q", "completion": "<audio>"},
            "audio has 1 sound, where",
        ),
        (
            Preference,
            {"images": ["a", "b"], "prompt": "<image>Q", "chosen": "<image>A", "rejected": "B"},
            "refer to 1",
        ),
        (
            Prompt,
            {
                "images": ["a"],
                "prompt": chat(("user", [{"type": "image", "image": "b"}, words("<image>Q<image>")])),
            },
            "refer to 2",
        ),
        (Prompt, {"images": [["a"]], "prompt": "Q"}, "images has a list in it; give a path"),
        (Prompt, {"images": [None], "prompt": "Q"}, "images has null in it, which is no image; give a path"),
        (Prompt, {"images": [""], "prompt": "Q"}, "images has '' in it, which is no image"),
        (Prompt, {"images": 3, "prompt": "Q"}, "images has 3 in it, which is no image"),
        (Prompt, {"image": {"width": 3}, "prompt": "Q"}, "image has {'width': 3} in it, which is no image"),
        (Prompt, {"audio": {"array": [0.1], "sampling_rate": 8000}, "prompt": "Q"}, "which is no sound"),
        (Prompt, {"images": "['a.png']", "prompt": "Q"}, "in it, which is not JSON"),
        (Prompt, {"image": "a", "images": ["a"], "prompt": "Q"}, "image and images; keep one of them"),
        (Prompt, {"video": {"path": None, "bytes": "??"}, "prompt": "Q"}, "which is not base64"),
        (
            Prompt,
            {"images": ["a"], "prompt": chat(("tool", "4 m"))},
            "the row has images, but no message of a user",
        ),
        (
            Preference,
            {
                "images": ["a"],
                "prompt": chat(("user", [IMAGE, words("Q")])),
                "chosen": chat(("user", "Q"), ANSWER),
                "rejected": chat(("user", "Q"), OTHER),
            },
            "the prompt has media that chosen and rejected do not start with",
        ),
        (Prompt, {"image": "a", "prompt": 3}, "3 is neither a text nor a JSON object"),
        (RatedText, {"image": "a", "id": "1", "text": "A", "ratings": [3]}, "the row has image, but no message"),
    ],
)
def test_damaged_columns_are_refused_by_name(kind: type, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError) as error:
        parse_record(kind, row)
    assert reason in str(error.value)
    assert not str(error.value).endswith("..")


def test_all_keys_of_media_count_as_read(inspected: Callable[..., Inspection]) -> None:
    part = {"type": "image_url", "image_url": {"url": "a.png", "detail": "low"}, "extra": {"deep": 1}}
    rows = [
        {"prompt": chat(("user", [part, words("Q")])), "completion": "A"},
        {"prompt": chat(("user", "Q")), "completion": "A", "images": [{"bytes": "aGk=", "path": "n"}]},
    ]
    inspection = inspected(*rows)
    assert inspection.unread == ()
    assert [len(record_media(record)) for record in inspection.records] == [1, 1]


def test_a_refused_row_is_named_with_its_file(records_of: Callable[..., Any], tmp_path: Path) -> None:
    good = {"prompt": "Q", "completion": "A", "images": ["a"]}
    with pytest.raises(DataError) as error:
        records_of(Demonstration, good, {**good, "images": [3]})
    assert str(error.value).startswith(
        f"{tmp_path / 'rows.jsonl'}, line 2: images has 3 in it, which is no image;"
    )
