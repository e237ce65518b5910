"""Tools and tool calls: one record for every way to write them, and refusals by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from gnomon.core.errors import DataError
from gnomon.core.storage.files import to_json
from gnomon.core.types import Demonstration, Message, Preference, Prompt, RatedText
from gnomon.data.inspection import inspect
from gnomon.data.reading.messages import fingerprint, message_row, messages, same_turns, stored_message
from gnomon.data.reading.row_fields import name_of
from gnomon.data.reading.tools import template_kwargs_of, tool_calls_of, tools_of
from gnomon.data.record_rows import record_row
from gnomon.data.records import parse_record, read_records

TOOL = {
    "type": "function",
    "function": {
        "name": "tide",
        "description": "Height of the tide.",
        "parameters": {"type": "object", "properties": {"port": {"type": "string"}}},
    },
}
CALL = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": {"port": "Brest"}}}
ASK = {"role": "user", "content": "How high is the tide in Brest?"}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "name": "tide", "tool_call_id": "c1", "content": "4 m"}
ANSWER = {"role": "assistant", "content": "Four meters."}
TALK = [ASK, CALLS, RESULT, ANSWER]


def with_arguments(arguments: Any) -> dict[str, Any]:
    return {**CALL, "function": {"name": "tide", "arguments": arguments}}


def test_arguments_are_an_object_or_its_json_text() -> None:
    """Both are one call; its keys keep their order, which templates print."""
    (one,) = tool_calls_of([with_arguments({"port": "Brest", "day": 2})])
    assert tool_calls_of([with_arguments('{"port":"Brest",  "day": 2}')]) == (one,)
    assert tool_calls_of([with_arguments({"day": 2, "port": "Brest"})]) != (one,)
    function = '{"name": "tide", "arguments": {"port": "Brest", "day": 2}}'
    assert one == '{"id": "c1", "type": "function", "function": ' + function + "}"
    assert tool_calls_of([with_arguments("")]) == tool_calls_of([with_arguments({})])


def test_a_call_without_its_wrapping_object_is_wrapped() -> None:
    flat = {"name": "tide", "arguments": {"port": "Brest"}}
    wrapped = {"type": "function", "function": flat}
    assert tool_calls_of([flat]) == tool_calls_of([wrapped]) == tool_calls_of(json.dumps([flat]))


@pytest.mark.parametrize("cell", [None, "", [], "[]", "null", " [] "])
def test_an_empty_cell_has_no_tools_and_no_calls(cell: Any) -> None:
    assert tools_of(cell) == tool_calls_of(cell) == ()
    assert template_kwargs_of(cell) == ""


def test_tools_are_a_list_or_json_text_of_it() -> None:
    (one,) = tools_of([TOOL])
    assert json.loads(one) == TOOL
    assert tools_of(json.dumps([TOOL])) == tools_of([json.dumps(TOOL)]) == (one,)
    flat = {"name": "tide", "parameters": {"type": "object"}}
    assert tools_of([flat]) == (json.dumps(flat),)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**CALLS, "tool_calls": [with_arguments("{port")]}, "arguments of 'tide' are not JSON: '{port'"),
        ({**CALLS, "tool_calls": [with_arguments("[1]")]}, r"arguments of 'tide' are \[1\], not an object"),
        ({**CALLS, "tool_calls": [with_arguments(None)]}, "are None, not an object; write {}"),
        ({**CALLS, "tool_calls": [with_arguments({"x": float("nan")})]}, "a value that JSON cannot hold"),
        ({**CALLS, "tool_calls": [with_arguments({"x": "\ud800"})]}, "half of a surrogate pair"),
        (
            {**CALLS, "tool_calls": [{"type": "function"}]},
            "tool_calls with {'type': 'function'}, where a call is",
        ),
        ({**CALLS, "tool_calls": [{**CALL, "type": "custom"}]}, "tool_calls of the type 'custom'"),
        (
            {**CALLS, "tool_calls": [{"name": "f", "arguments": {}, "x": 1}]},
            "tool_calls with 'x', which is no part",
        ),
        ({**CALLS, "tool_calls": {"name": "f"}}, "tool_calls is not a list"),
        ({**CALLS, "tool_calls": ["f(1)"]}, r"tool_calls has 'f\(1\)' in it, which is not JSON"),
        ({**CALLS, "tool_calls": [{**CALL, "id": 7}]}, "id of a tool call: 7 is not a text"),
        ({**ASK, "tool_calls": [CALL]}, "a user's message has tool_calls; only the assistant's may"),
        ({**ANSWER, "function_call": {"name": "f"}}, "function_call, the older form of a call"),
        ({**ASK, "tools": [TOOL]}, "a message has tools, which belong to the whole row"),
        ({"role": "assistant", "content": None}, "'content' is null"),
    ],
)
def test_damaged_calls_are_refused_by_name(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        messages([row])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"tools": [{"type": "function"}]}, "the row has tools with {'type': 'function'}, where a tool is"),
        ({"tools": "tide(port)"}, "tools is not a list"),
        ({"tools": ["tide(port)"]}, r"tools has 'tide\(port\)' in it, which is not JSON"),
        ({"functions": [TOOL]}, "the row has functions, the older form of tools"),
        ({"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs has 'tokenize'"),
        ({"chat_template_kwargs": {"a b": 1}}, "chat_template_kwargs has 'a b'"),
        ({"chat_template_kwargs": {"xml_tools": [1]}}, "chat_template_kwargs has xml_tools with a list"),
        ({"chat_template_kwargs": [1]}, r"chat_template_kwargs is \[1\], not an object"),
        (
            {"prompt": {"messages": [ASK], "tools": [TOOL]}, "tools": [{"name": "f", "description": "F"}]},
            "the row and its prompt have different tools",
        ),
    ],
)
def test_damaged_columns_are_refused_by_name(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_record(Demonstration, {"prompt": [ASK], "completion": "a", **columns})


def test_a_text_without_a_prompt_has_no_tools() -> None:
    with pytest.raises(DataError, match="the row has tools but no prompt"):
        parse_record(RatedText, {"text": "a", "rating": 1, "tools": [TOOL]})


def test_a_conversation_keeps_calls_results_and_tools() -> None:
    record = parse_record(Demonstration, {"messages": TALK, "tools": [TOOL]})
    assert record.prompt.tools == (json.dumps(TOOL),)
    assert record.completion.text == "Four meters."  # a turn that only calls has no text
    called, result, answer = record.completion.turns or ()
    assert called == Message("assistant", "", tool_calls=(json.dumps(CALL),))
    assert result == Message("tool", "4 m", name="tide", tool_call_id="c1")
    assert answer == Message("assistant", "Four meters.")


@pytest.mark.parametrize("kind", [Prompt, Demonstration, Preference])
def test_a_record_is_written_and_read_unchanged(kind: type) -> None:
    """As rows of Gnomon's own layout, and as dataclasses in JSON."""
    rows: dict[type, dict[str, Any]] = {
        Prompt: {"messages": TALK[:3]},
        Demonstration: {"prompt": TALK[:3], "completion": [ANSWER]},
        Preference: {"prompt": [ASK], "chosen": TALK[1:], "rejected": ANSWER},
    }
    row = {**rows[kind], "tools": [TOOL], "chat_template_kwargs": {"enable_thinking": False, "effort": None}}
    record: Any = parse_record(kind, row)
    prompt = record if kind is Prompt else record.prompt
    assert prompt.chat_template_kwargs == '{"enable_thinking": false}'
    for written in (record_row(record), to_json(record)):
        assert parse_record(kind, json.loads(json.dumps(written))) == record


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(arguments=st.dictionaries(st.text(max_size=3), VALUES, max_size=3), name=st.text(min_size=1, max_size=3))
def test_any_arguments_are_kept(arguments: dict[str, Any], name: str) -> None:
    calls = [{"type": "function", "function": {"name": name, "arguments": arguments}}]
    (turn,) = messages([{**CALLS, "tool_calls": calls}])
    assert [json.loads(one) for one in turn.tool_calls] == calls
    assert stored_message(message_row(turn)) == turn
    assert messages([message_row(turn)]) == (turn,)


def test_ids_and_fingerprints_of_rows_without_tools_do_not_change() -> None:
    """The id of a text is the start of its SHA-256; that of turns is computed from role and content."""
    assert parse_record(Prompt, {"prompt": "Q"}).id == name_of("Q") == "4ae81572f06e1b88"
    turns = messages([ASK, ANSWER, {"role": "user", "content": "And at noon?"}])
    assert fingerprint(turns) == (
        "(Message(role='user', content='How high is the tide in Brest?'), "
        "Message(role='assistant', content='Four meters.'), Message(role='user', content='And at noon?'))"
    )
    record = parse_record(Prompt, {"prompt": [ASK, ANSWER, {"role": "user", "content": "And at noon?"}]})
    assert record.id == name_of(fingerprint(turns))
    assert record.context == record.messages


def test_what_differs_in_tools_calls_or_results_has_another_id() -> None:
    """Also where one of two sides is the other without its call."""
    plain = parse_record(Prompt, {"prompt": [ASK]})
    prompts = [
        plain,
        parse_record(Prompt, {"prompt": [ASK], "tools": [TOOL]}),
        parse_record(Prompt, {"prompt": [ASK], "chat_template_kwargs": {"enable_thinking": False}}),
    ]
    assert len({prompt.id for prompt in prompts}) == len({prompt.context for prompt in prompts}) == 3
    named = parse_record(Prompt, {"prompt": [ASK], "id": "own", "tools": [TOOL]})
    assert named.id == "own"

    def answer(*turns: Any) -> Any:
        return parse_record(Demonstration, {"prompt": [ASK], "completion": list(turns)}).completion

    other = {**CALLS, "tool_calls": [with_arguments({"port": "Dover"})]}
    answers = [answer(CALLS), answer(other), answer({**CALLS, "tool_calls": None, "content": ""})]
    answers += [answer(CALLS, {**RESULT, "tool_call_id": "c2"}, ANSWER), answer(CALLS, RESULT, ANSWER)]
    assert len({one.id for one in answers}) == 5
    assert not same_turns(answers[0].turns, answers[1].turns)


def test_a_tool_may_return_nothing() -> None:
    prompt = parse_record(Prompt, {"prompt": [ASK, CALLS, {**RESULT, "content": ""}]})
    assert prompt.messages[-1].content == ""


def test_a_preference_shares_the_turns_before_calls_that_differ() -> None:
    other = {**CALLS, "tool_calls": [with_arguments({"port": "Dover"})]}
    record = parse_record(Preference, {"chosen": [ASK, CALLS], "rejected": [ASK, other], "tools": [TOOL]})
    assert [len(record.prompt.messages), len(record.prompt.tools)] == [1, 1]
    assert record.chosen.turns != record.rejected.turns


def test_nulls_of_an_arrow_table_are_no_arguments(tmp_path: Path) -> None:
    """Two calls with different arguments share one struct, in which the others are null."""
    other = {"type": "function", "function": {"name": "wind", "arguments": {"day": 2}}}
    rows = [
        {"messages": [ASK, {**CALLS, "tool_calls": [call]}], "tools": [TOOL]}
        for call in ({"type": "function", "function": CALL["function"]}, other)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert read_records(Demonstration, tmp_path / "rows.parquet") == read_records(Demonstration, file)


def test_all_keys_of_tools_and_calls_are_read(tmp_path: Path) -> None:
    """Also those of a table, where they are JSON texts."""
    file = tmp_path / "rows.jsonl"
    rows = [{"messages": TALK, "tools": [TOOL]}, {"messages": json.dumps(TALK), "tools": json.dumps([TOOL])}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = inspect(file)
    assert (result.unread, len(result.refused)) == ((), 0)
    assert result.records[0] == result.records[1]
