"""LLaMA-Factory's messages with content parts: weights of turns, reasoning, pairs, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Preference
from gnomon.data.conversion import convert_file
from gnomon.data.encoding import encode_demonstrations
from gnomon.data.inspection import Inspection
from gnomon.data.records import read_records

Inspected = Callable[..., Inspection]
RecordsOf = Callable[..., list[Any]]


def turn(role: str, text: str, weight: float | None = None, **more: Any) -> dict[str, Any]:
    row = {"role": role, "content": [{"type": "text", "value": text}], **more}
    return row if weight is None else {**row, "loss_weight": weight}


def contents(turns: Any) -> list[tuple[str, str]]:
    return [(one.role, one.content) for one in turns]


def test_turns_without_a_weight_are_learned_if_they_are_the_assistants(inspected: Inspected) -> None:
    inspection = inspected({"messages": [turn("system", "S"), turn("user", "Q"), turn("assistant", "A")]})
    (record,) = inspection.records
    assert inspection.kind is Demonstration
    assert contents(record.prompt.messages) == [("system", "S"), ("user", "Q")]
    assert (record.completion.text, record.weight) == ("A", 1.0)


def test_the_prompt_reaches_to_the_first_turn_that_is_learned(records_of: RecordsOf) -> None:
    turns = [
        turn("user", "Q1", 0),
        turn("assistant", "A1", 0),
        turn("user", "Q2", 0),
        turn("assistant", "A2", 0.5),
        turn("user", "Q3", 0),
        turn("assistant", "A3", 0),
        turn("user", "Q4", 0),
        turn("assistant", "A4", 0.5),
    ]
    (record,) = records_of(Demonstration, {"messages": turns, "weight": 3})
    assert [text for _, text in contents(record.prompt.messages)] == ["Q1", "A1", "Q2"]
    assert contents(record.completion.turns)[0] == ("assistant", "A2")
    assert [one.train for one in record.completion.turns] == [None, None, False, None, None]
    assert record.weight == 1.5  # 3 · 0.5


def test_several_weights_make_a_demonstration_each_and_every_turn_is_learned_once(records_of: RecordsOf) -> None:
    turns = [
        turn("user", "Q1"),
        turn("assistant", "A1", 0.25),
        turn("user", "Q2"),
        turn("assistant", "A2", 1.0),
        turn("user", "Q3"),
        turn("assistant", "A3", 0.25),
    ]
    whole, quarter = records_of(Demonstration, {"messages": turns})
    assert [text for _, text in contents(whole.prompt.messages)] == ["Q1", "A1", "Q2"]
    assert (whole.completion.text, whole.weight) == ("A2", 1.0)
    learned = [one.content for one in quarter.completion.turns if one.role == "assistant" and one.train is None]
    assert ([text for _, text in contents(quarter.prompt.messages)], learned) == (["Q1"], ["A1", "A3"])
    assert quarter.weight == 0.25


def test_in_the_loss_every_token_of_a_turn_has_its_weight(records_of: RecordsOf, chat_tokenizer: Any) -> None:
    """Summed over the demonstrations of a row, by position in the whole conversation."""
    weights = {"A1": 0.25, "A2": 1.0, "A3": 0.0, "A4": 0.25}
    turns = [
        one
        for q, a in enumerate(weights, start=1)
        for one in (turn("user", f"Q{q}"), turn("assistant", a, weights[a]))
    ]
    records = records_of(Demonstration, {"messages": turns})
    examples, rejected = encode_demonstrations(records, chat_tokenizer, 1000)
    sequences = {(*example.prompt, *example.completions[0]) for example in examples}
    longest = max(sequences, key=len)
    assert rejected == []
    assert all(longest[: len(one)] == one for one in sequences)
    total = [0.0] * len(longest)
    for example in examples:
        (ids,) = example.completions
        (mask,) = example.masks or ((True,) * len(ids),)
        for position, learned in enumerate(mask, start=len(example.prompt)):
            total[position] += example.weight * learned
    end = chat_tokenizer.convert_tokens_to_ids("<|im_end|>")
    for answer, weight in weights.items():
        turn_ids = [*chat_tokenizer(answer, add_special_tokens=False).input_ids, end]
        start = next(i for i in range(len(longest)) if list(longest[i : i + len(turn_ids)]) == turn_ids)
        assert total[start : start + len(turn_ids)] == [weight] * len(turn_ids)
    assert sum(total) == sum(weights.values()) * 3  # two bytes and the end of each turn


def test_conversations_without_a_learned_turn_are_not_used(inspected: Inspected) -> None:
    learned = [turn("user", "Q"), turn("assistant", "A")]
    inspection = inspected({"messages": learned}, {"messages": [turn("user", "Q"), turn("assistant", "A", 0)]})
    assert [(row.where, row.reason) for row in inspection.refused] == [
        ("line 2", "no turn has a loss_weight above 0")
    ]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (
            [turn("user", "Q", 1.0), turn("assistant", "A")],
            "a message of the role 'user' has loss_weight 1, but only the assistant's turns are learned; set it",
        ),
        ([turn("user", "Q"), turn("assistant", "A", -1.0)], "loss_weight is -1.0, outside 0.0 to 1000000.0"),
        (
            [{"role": "user", "content": [{"type": "file", "value": "a.pdf"}]}, turn("assistant", "A")],
            "content is a list with 'file' in it, but only parts of the type 'text', 'image', 'audio' and",
        ),
    ],
)
def test_what_is_not_learned_is_refused_by_name(
    records_of: RecordsOf, turns: list[dict[str, Any]], reason: str
) -> None:
    good = {"messages": [turn("user", "Q"), turn("assistant", "A")]}
    with pytest.raises(DataError) as error:
        records_of(Demonstration, good, {"messages": turns})
    assert "line 2" in str(error.value)
    assert reason in str(error.value)


def test_parts_of_reasoning_and_of_text_are_the_two_parts_of_a_turn(records_of: RecordsOf) -> None:
    parts = [
        {"type": "reasoning", "value": "2 · 3"},
        {"type": "text", "value": "It is "},
        {"type": "text", "value": "6."},
    ]
    row = {"messages": [turn("user", "Q"), {"role": "assistant", "content": parts, "loss_weight": 1.0}]}
    (record,) = records_of(Demonstration, row)
    (answer,) = record.completion.turns
    assert (answer.reasoning_content, answer.content) == ("2 · 3", "It is 6.")


def test_pairs_are_two_conversations(inspected: Inspected, records_of: RecordsOf) -> None:
    shared = [turn("user", "Q", 0.0)]
    row = {
        "chosen_messages": [*shared, turn("assistant", "A", 1.0)],
        "rejected_messages": [*shared, turn("assistant", "B", 1.0)],
    }
    inspection = inspected(row)
    (record,) = inspection.records
    assert inspection.kind is Preference
    assert (record.prompt.messages[0].content, record.chosen.text, record.rejected.text) == ("Q", "A", "B")
    half = {**row, "rejected_messages": [*shared, turn("assistant", "B", 0.5)]}
    with pytest.raises(DataError, match=r"line 2: a turn of rejected_messages has loss_weight 0\.5; in a pair"):
        records_of(Preference, row, half)


DEMONSTRATIONS = [
    {"prompt": "Q", "completion": "A", "weight": 0.5},
    {
        "prompt": [
            {"role": "user", "content": "Q1"},
            {"role": "assistant", "content": "A1"},
            {"role": "user", "content": "Q2"},
        ],
        "completion": [
            {"role": "assistant", "content": "A2", "reasoning_content": "hm"},
            {"role": "user", "content": "Q3"},
            {"role": "assistant", "content": "A3", "train": False},
            {"role": "user", "content": "Q4"},
            {"role": "assistant", "content": ""},
        ],
    },
]
PREFERENCES = [{"prompt": "Q", "chosen": "A", "rejected": "B", "margin": 2.0, "probability": 0.75, "weight": 0.5}]


@pytest.mark.parametrize(("kind", "rows"), [(Demonstration, DEMONSTRATIONS), (Preference, PREFERENCES)])
def test_written_rows_are_read_back_as_the_same_records(
    file_of: Callable[..., Path], tmp_path: Path, kind: type, rows: list[dict[str, Any]]
) -> None:
    source, written = file_of(*rows), tmp_path / "written.jsonl"
    assert convert_file(source, written, "llama-factory-v1").rejected_file is None
    assert read_records(kind, written) == read_records(kind, source)
