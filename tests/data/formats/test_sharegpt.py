"""ShareGPT's conversations: authors, turns that no answer follows, marks of turns, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration
from gnomon.data.conversion import convert_file
from gnomon.data.inspection import Inspection
from gnomon.data.records import read_records

Inspected = Callable[..., Inspection]
RecordsOf = Callable[..., list[Any]]
FileOf = Callable[..., Path]


def turns(*written: str) -> dict[str, Any]:
    """A row of turns, each written as `author: text`."""
    pairs = (one.split(": ", 1) for one in written)
    return {"conversations": [{"from": author, "value": value} for author, value in pairs]}


def contents(messages: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in messages]


@pytest.mark.parametrize("user", ["human", "user", "prompter"])
@pytest.mark.parametrize("model", ["gpt", "assistant", "chatgpt", "bing", "bard", "model"])
def test_authors_have_many_names(inspected: Inspected, user: str, model: str) -> None:
    inspection = inspected(turns("system: Be brief.", f"{user}: Hi", f"{model}:  Hello \n"))
    (record,) = inspection.records
    assert inspection.kind is Demonstration
    assert contents(record.prompt.messages) == [("system", "Be brief."), ("user", "Hi")]
    assert record.completion.text == " Hello \n"


def test_an_unknown_author_is_refused_with_its_line(records_of: RecordsOf) -> None:
    good = turns("human: Hi", "gpt: Hello")
    with pytest.raises(DataError, match=r"line 2: a turn is from 'hummany', which is none of human, user"):
        records_of(Demonstration, good, turns("hummany: Hi", "gpt: Hello"))
    with pytest.raises(DataError, match=r"line 2: no 'value' in it"):
        records_of(Demonstration, good, {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt"}]})


def test_a_turn_after_the_last_answer_is_reported_and_not_learned(inspected: Inspected) -> None:
    inspection = inspected(turns("human: Hi", "gpt: Hello", "human: Are you there?"))
    assert inspection.records[0].completion.text == "Hello"
    assert inspection.unread == ("turns after the last answer",)


def test_conversations_that_hold_no_demonstration_are_not_used(inspected: Inspected) -> None:
    inspection = inspected(
        turns("human: Hi", "gpt: Hello"),
        turns("gpt: Hello", "human: Hi", "gpt: How are you?"),
        turns("system: Be brief.", "gpt: Hello"),
        turns("human: Hi"),
    )
    first = "the conversation starts with the assistant's turn, without a prompt"
    assert [(row.where, row.reason) for row in inspection.refused] == [
        ("line 2", first),
        ("line 3", first),
        ("line 4", "the conversation has no turn of the assistant"),
    ]


def test_marks_of_turns_and_the_system_column_are_used(inspected: Inspected) -> None:
    row = turns("human: Hi", "gpt: Hm", "human: And?", "gpt: Hello")
    row["conversations"][1]["weight"] = 0
    inspection = inspected({**row, "system": "Be brief.", "weight": 2, "model": "m"})
    (record,) = inspection.records
    assert contents(record.prompt.messages) == [("system", "Be brief."), ("user", "Hi")]
    assert [turn.train for turn in record.completion.turns] == [False, None, None]
    assert record.weight == 2.0
    assert inspection.unread == ("model",)


def test_written_conversations_are_read_back_as_the_same_records(file_of: FileOf, tmp_path: Path) -> None:
    rows = [
        {"prompt": "花样年华?", "completion": " 好 \n", "weight": 0.5},
        turns("system: Be brief.", "human: Hi", "gpt: Hello", "human: Bye", "gpt: See you"),
    ]
    source = file_of(rows[0])
    for number, path in enumerate((source, file_of(rows[1], name="more.jsonl"))):
        written = tmp_path / f"written-{number}.jsonl"
        assert convert_file(path, written, "sharegpt").rejected_file is None
        assert read_records(Demonstration, written) == read_records(Demonstration, path)


def test_demonstrations_that_would_be_learned_otherwise_are_listed(file_of: FileOf, tmp_path: Path) -> None:
    """Readers of ShareGPT learn every turn of the assistant."""
    user, assistant = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
    source = file_of(
        {"prompt": "Q", "completion": "A"},
        {"prompt": [user, assistant, user], "completion": "B"},
        {"prompt": "Q", "completion": [{**assistant, "train": False}, user, assistant]},
    )
    result = convert_file(source, tmp_path / "out.jsonl", "sharegpt")
    first, second = result.rejected
    assert result.written == 1
    assert first.startswith("ShareGPT conversations are learned in every turn of the assistant")
    assert second == "turns with from and value have no place for train, which a turn has"
