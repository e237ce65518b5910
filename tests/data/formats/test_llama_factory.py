"""LLaMA-Factory's rows: histories, pairs, KTO tags, calls of functions, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Preference
from gnomon.data.conversion import convert_file
from gnomon.data.formats.sharegpt import message_of
from gnomon.data.inspection import Inspection
from gnomon.data.records import read_records

Inspected = Callable[..., Inspection]
RecordsOf = Callable[..., list[Any]]
FileOf = Callable[..., Path]
ASKED = [
    {"from": "human", "value": "Hi"},
    {"from": "gpt", "value": "Hello"},
    {"from": "human", "value": "Name a river."},
]
SPREE, MOON = ({"from": "gpt", "value": value} for value in ("The Spree.", "The moon."))


def contents(turns: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in turns]


def test_a_history_is_learned_with_the_answer(inspected: Inspected) -> None:
    row = {"instruction": "Name a river.", "input": "In Berlin", "output": "The Spree.", "system": "Be brief."}
    inspection = inspected({**row, "history": [["Hi", "Hello"]]}, {**row, "history": []})
    first, second = inspection.records
    assert inspection.kind is Demonstration
    assert contents(first.prompt.messages) == [("system", "Be brief."), ("user", "Hi")]
    assert contents(first.completion.turns) == [
        ("assistant", "Hello"),
        ("user", "Name a river.\nIn Berlin"),
        ("assistant", "The Spree."),
    ]
    assert contents(second.prompt.messages)[-1] == ("user", "Name a river.\nIn Berlin")
    assert second.completion.text == "The Spree."


def test_a_history_that_is_no_list_of_pairs_is_refused(records_of: RecordsOf) -> None:
    row = {"instruction": "Q", "output": "A"}
    with pytest.raises(DataError, match=r"line 2: history has \['Hi'\], not a prompt with its answer"):
        records_of(Demonstration, {**row, "history": []}, {**row, "history": [["Hi"]]})


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Name a river.", "input": "", "chosen": "The Spree.", "rejected": "The moon."},
        {"conversations": ASKED[2:], "chosen": SPREE, "rejected": MOON},
        {"conversations": ASKED[2:], "chosen": [SPREE], "rejected": [MOON]},
        {
            "messages": [{"role": "user", "content": "Name a river."}],
            "chosen": {"role": "assistant", "content": "The Spree."},
            "rejected": {"role": "assistant", "content": "The moon."},
        },
    ],
)
def test_pairs_stand_beside_their_prompt(inspected: Inspected, row: dict[str, Any]) -> None:
    inspection = inspected(row)
    (record,) = inspection.records
    assert inspection.kind is Preference
    assert contents(record.prompt.messages) == [("user", "Name a river.")]
    assert (record.chosen.text, record.rejected.text) == ("The Spree.", "The moon.")
    assert inspection.unread == ()


def test_a_tag_judges_the_last_answer(inspected: Inspected) -> None:
    inspection = inspected(
        {"conversations": [*ASKED, MOON], "kto_tag": False},
        {"instruction": "Name a river.", "input": "", "output": "The Spree.", "kto_tag": True},
    )
    first, second = inspection.records
    assert inspection.kind is Label
    assert contents(first.prompt.messages) == [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Name a river."),
    ]
    assert (first.completion.text, first.good) == ("The moon.", False)
    assert (second.completion.text, second.good) == ("The Spree.", True)


def test_a_row_of_another_kind_is_refused(records_of: RecordsOf) -> None:
    pair = {"conversations": ASKED, "chosen": SPREE, "rejected": MOON}
    with pytest.raises(DataError, match="line 2: the row holds a kto_tag, where chosen and rejected is expected"):
        records_of(Preference, pair, {"conversations": [*ASKED, MOON], "kto_tag": False})


def test_calls_of_functions_become_tool_calls_of_a_message() -> None:
    call = {"name": "weather", "arguments": {"city": "Berlin"}}
    for value, calls in ((json.dumps(call), [call]), (json.dumps([call, call]), [call, call])):
        message = message_of({"from": "function_call", "value": value})
        assert message == {"role": "assistant", "content": "", "tool_calls": calls}
    assert message_of({"from": "observation", "value": "12°"}) == {"role": "tool", "content": "12°"}
    with pytest.raises(DataError, match="a function call is 'weather in Berlin', not JSON"):
        message_of({"from": "function_call", "value": "weather in Berlin"})


PREFERENCES = [
    {"prompt": "Q", "chosen": "A", "rejected": "", "margin": 1.5, "probability": 0.75, "weight": 2.0},
    {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "花样年华?"},
        ],
        "chosen": " 好 \n",
        "rejected": "B",
    },
]
LABELS = [
    {"prompt": "Q", "completion": "A", "label": True, "weight": 0.5},
    {"prompt": "Q", "completion": "B", "label": False},
]
DEMONSTRATIONS = [
    {"prompt": "Q", "completion": "A", "weight": 3.0},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Bye"},
            {"role": "assistant", "content": "See you"},
        ]
    },
]


@pytest.mark.parametrize(
    ("kind", "rows"), [(Preference, PREFERENCES), (Label, LABELS), (Demonstration, DEMONSTRATIONS)]
)
def test_written_rows_are_read_back_as_the_same_records(
    file_of: FileOf, tmp_path: Path, kind: type, rows: list[dict[str, Any]]
) -> None:
    source, written = file_of(*rows), tmp_path / "written.jsonl"
    assert convert_file(source, written, "llama-factory").rejected_file is None
    assert read_records(kind, written) == read_records(kind, source)


def test_written_pairs_have_the_columns_that_llama_factory_reads(file_of: FileOf, tmp_path: Path) -> None:
    convert_file(file_of(PREFERENCES[1]), tmp_path / "out.jsonl", "llama-factory")
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8")) == {
        "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "gpt", "value": "Hello"},
            {"from": "human", "value": "花样年华?"},
        ],
        "system": "Be brief.",
        "chosen": {"from": "gpt", "value": " 好 \n"},
        "rejected": {"from": "gpt", "value": "B"},
        "margin": 0.0,
        "probability": 1.0,
        "weight": 1.0,
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"prompt": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "completion": "c"},
            "LLaMA-Factory rows have turns of user and assistant in alternation, and these do not alternate",
        ),
        (
            {
                "prompt": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                    {"role": "user", "content": "c"},
                ],
                "completion": "d",
            },
            "LLaMA-Factory rows are learned in every turn of the assistant, but one of the prompt's is not to be "
            "learned",
        ),
        (
            {"prompt": "a", "completion": [{"role": "assistant", "content": "b", "reasoning_content": "hm"}]},
            "turns with from and value have no place for reasoning_content, which a turn has",
        ),
    ],
)
def test_rows_that_the_layout_cannot_hold_are_listed_with_the_reason(
    file_of: FileOf, tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    result = convert_file(
        file_of({"prompt": "Q", "completion": "A"}, row), tmp_path / "out.jsonl", "llama-factory"
    )
    assert (result.written, dict(result.rejected)) == (1, {reason: 1})


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln"}}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather.", "parameters": {}},
}


def with_a_call(**links: str) -> dict[str, Any]:
    """A conversation with a call of a tool; with `id`, call and result are linked by it."""
    result = {
        "role": "tool",
        "content": "12°",
        **({"tool_call_id": links["id"], "name": "weather"} if links else {}),
    }
    turns = [
        {"role": "user", "content": "Weather in Köln?"},
        {"role": "assistant", "content": "", "tool_calls": [{**CALL, **links}]},
        result,
        {"role": "assistant", "content": "12 degrees."},
    ]
    return {"messages": turns, "tools": [TOOL]}


@pytest.mark.parametrize("layout", ["llama-factory", "llama-factory-v1", "sharegpt", "trl"])
def test_tools_and_their_calls_are_written_and_read_back(file_of: FileOf, tmp_path: Path, layout: str) -> None:
    source, written = file_of(with_a_call()), tmp_path / "written.jsonl"
    assert convert_file(source, written, layout).rejected_file is None
    (record,) = read_records(Demonstration, written)
    assert [record] == read_records(Demonstration, source)
    assert json.loads(record.prompt.tools[0]) == TOOL


def test_a_call_is_a_turn_of_its_own_and_its_id_is_implied(file_of: FileOf, tmp_path: Path) -> None:
    convert_file(file_of(with_a_call(id="call_1")), tmp_path / "out.jsonl", "llama-factory")
    row = json.loads((tmp_path / "out.jsonl").read_text("utf-8"))
    assert row["conversations"][1:3] == [
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Köln"}}'},
        {"from": "observation", "value": "12°"},
    ]
    assert json.loads(row["tools"]) == [TOOL]
    assert read_records(Demonstration, tmp_path / "out.jsonl") == read_records(
        Demonstration, file_of(with_a_call())
    )


def test_a_result_that_belongs_to_one_of_several_calls_is_listed(file_of: FileOf, tmp_path: Path) -> None:
    row = with_a_call(id="call_1")
    row["messages"][1]["tool_calls"].append({**CALL, "id": "call_2"})
    plain = {"prompt": "Q", "completion": "A"}
    result = convert_file(file_of(plain, row), tmp_path / "out.jsonl", "llama-factory")
    assert list(result.rejected) == [
        "turns with from and value have no place for name or tool_call_id, which a turn has"
    ]
