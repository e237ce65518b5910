"""Messages: keys that change the meaning of a turn are used or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Message, Preference, Prompt, RatedText
from gnomon.data.reading.messages import message_row, messages, stored_message
from gnomon.data.records import parse_record

HI, AGAIN = {"role": "user", "content": "Hi"}, {"role": "user", "content": "Again"}


def turn(content: str = "A", **keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **keys}


@pytest.mark.parametrize(
    ("keys", "train"),
    [
        ({}, None),
        ({"weight": 0}, False),
        ({"weight": 1.0}, True),
        ({"train": "false"}, False),
        ({"train": 1}, True),
    ],
)
def test_a_turn_is_learned_as_it_is_marked(keys: dict[str, Any], train: bool | None) -> None:
    (record,) = messages([turn(**keys)])
    assert record.train is train
    assert stored_message(message_row(record)) == record


def test_text_parts_are_one_text() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert messages([{"role": "user", "content": parts}]) == (Message("user", "Hello"),)


def test_reasoning_is_read_beside_the_content() -> None:
    (result,) = messages([turn("4", reasoning_content="2 and 2")])
    assert (result.content, result.reasoning_content) == ("4", "2 and 2")
    assert messages([{"role": "assistant", "reasoning_content": "2 and 2"}])[0].content == ""
    record = parse_record(Demonstration, {"messages": [HI, turn("4", reasoning_content="2 and 2")]})
    assert record.completion.turns == (result,)
    plain = parse_record(Demonstration, {"messages": [HI, turn("4")]})
    assert record.completion.id != plain.completion.id


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (turn(weight=0.5), "weight is 0.5, neither 0"),
        (turn(weight=1, train=False), "train and weight contradict"),
        ({**HI, "train": True}, "a user's message is marked to be learned"),
        ({**HI, "reasoning_content": "hm"}, "a user's message has reasoning_content"),
        (turn(tool_calls=[{"name": "f"}]), "has tool_calls"),
        (turn(thinking="hm"), "has thinking, call it reasoning_content"),
        (turn(masked=True), "has masked, call it train"),
        ({**HI, "content": [{"type": "file", "file": "a.pdf"}]}, "a list with 'file' in it"),
        ({**HI, "images": ["a.png"]}, "a message has images, which belongs into the parts of its content"),
        ({"role": "critic", "content": "Hi"}, "the role 'critic'"),
        ({"from": "human", "value": "Hi"}, "no 'role' in it, which has from, value"),
    ],
)
def test_unsupported_keys_are_refused_by_name(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        messages([row])


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (Demonstration, {"messages": [HI, turn(train=False)]}, "no turn of it is to be learned"),
        (Demonstration, {"prompt": [HI, turn(train=True), AGAIN], "completion": "a"}, "prompt is marked"),
        (Demonstration, {"prompt": "Q", "messages": [HI, turn()]}, "prompt and messages disagree"),
        (Demonstration, {"prompt": "Q", "completion": ["a", "b"]}, "completion is a list of 2 texts"),
        (Preference, {"prompt": "Q", "chosen": "a", "rejected": ["b", "c"]}, "rejected is a list of 2 texts"),
        (Prompt, {"prompt": "Q", "tools": [{"name": "f"}]}, "the row has tools"),
        (Prompt, {"prompt": "Q", "system_prompt": "S"}, "the row has system_prompt, call the column system"),
        (Prompt, {"prompt": "Q", "history": '[["a", "b"]]'}, "the row has history"),
        (Prompt, {"system": "S", "messages": [{"role": "system", "content": "T"}, HI]}, "disagree"),
        (RatedText, {"text": "a", "rating": 1, "system": "S"}, "a system column but no prompt"),
        (Demonstration, {"prompt": "Q", "completion": "a", "label": "good"}, "the row has label, which calls"),
    ],
)
def test_a_row_with_unsupported_columns_is_refused(kind: type, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_record(kind, row)


def test_empty_columns_are_accepted() -> None:
    row: dict[str, Any] = {"prompt": "Q", "tools": "[]", "history": [], "system": None, "images": ""}
    assert parse_record(Prompt, row) == parse_record(Prompt, {"prompt": "Q"})


def test_a_system_column_is_the_first_message() -> None:
    """For every kind of record, and where the messages have it already, once."""
    expected = (Message("system", "S"), Message("user", "Hi"))
    rows: list[tuple[type, dict[str, Any]]] = [
        (Prompt, {"prompt": "Hi"}),
        (Prompt, {"messages": [HI]}),
        (Prompt, {"messages": [{"role": "system", "content": "S"}, HI]}),
        (Demonstration, {"prompt": "Hi", "completion": [HI, turn()]}),
        (Demonstration, {"messages": [HI, turn()]}),
        (Preference, {"prompt": "Hi", "chosen": "a", "rejected": "b"}),
        (Preference, {"chosen": [HI, turn("a")], "rejected": [HI, turn("b")]}),
        (RatedText, {"prompt": "Hi", "text": "a", "rating": 1}),
    ]
    for kind, row in rows:
        record: Any = parse_record(kind, {"system": "S", **row})
        assert (record if kind is Prompt else record.prompt).messages == expected


def test_a_single_message_is_a_completion_and_a_prompt() -> None:
    row = {"prompt": HI, "chosen": turn("a"), "rejected": turn("b")}
    assert parse_record(Preference, row) == parse_record(
        Preference, {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    )


def test_a_developers_message_is_a_systems() -> None:
    assert messages([{"role": "developer", "content": "Be brief."}]) == (Message("system", "Be brief."),)
