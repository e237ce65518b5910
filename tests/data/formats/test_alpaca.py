"""Instructions of Alpaca, Self-Instruct and Dolly, and MT-Bench's questions of several turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Prompt
from gnomon.data.inspection import Inspection

Inspected = Callable[..., Inspection]
RecordsOf = Callable[..., list[Any]]


def prompts(records: list[Any]) -> list[str]:
    return [record.prompt.messages[-1].content for record in records]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": "Sum up.", "input": "A long text.", "output": "Short."}, "Sum up.\nA long text."),
        ({"instruction": "Sum up.", "input": "", "output": "Short."}, "Sum up."),
        ({"instruction": "Sum up.", "input": "<noinput>", "output": "Short."}, "Sum up."),
        ({"instruction": "Sum up.", "output": "Short."}, "Sum up."),
        ({"instruction": "", "input": "Sum up.", "output": "Short."}, "Sum up."),
        (
            {"instruction": "Sum up.", "context": "A text.", "response": "Short.", "category": "x"},
            "Sum up.\nA text.",
        ),
    ],
)
def test_the_input_follows_the_instruction_on_its_own_line(
    inspected: Inspected, row: dict[str, Any], prompt: str
) -> None:
    inspection = inspected(row)
    assert inspection.kind is Demonstration
    assert prompts(inspection.records) == [prompt]
    assert inspection.records[0].completion.text == "Short."
    assert inspection.unread == (("category",) if "category" in row else ())


def test_each_instance_of_an_instruction_is_a_demonstration(inspected: Inspected) -> None:
    instances = [{"input": "3", "output": "odd"}, {"input": "<noinput>", "output": "even"}]
    row = {"id": "seed_task_1", "name": "parity", "instruction": "Odd or even?", "instances": instances}
    records = inspected(row, {"instruction": "Hi", "instances": [{"input": "", "output": "Hello"}]}).records
    assert prompts(records) == ["Odd or even?\n3", "Odd or even?", "Hi"]
    assert [record.completion.text for record in records] == ["odd", "even", "Hello"]


def test_faults_of_instances_name_the_line(records_of: RecordsOf) -> None:
    good = {"instruction": "Hi", "instances": [{"input": "", "output": "Hello"}]}
    for instances, fault in (
        ([], "instances is empty"),
        ([{"input": "x"}], "no 'output' in it"),
        (["x"], "'x' is"),
    ):
        with pytest.raises(DataError, match=rf"line 2: {fault}"):
            records_of(Demonstration, good, {"instruction": "Hi", "instances": instances})


def test_instructions_are_prompts_too(records_of: RecordsOf, inspected: Inspected) -> None:
    row = {"instruction": "Sum up.", "input": "A text.", "output": "Short."}
    (prompt,) = records_of(Prompt, row)
    assert prompt.messages[0].content == "Sum up.\nA text."
    assert inspected({**row, "output": ""}).kind is Prompt


def test_a_system_column_is_the_system_message(records_of: RecordsOf) -> None:
    (record,) = records_of(
        Demonstration, {"instruction": "Hi", "input": "", "output": "Yo", "system": "Be brief."}
    )
    assert [turn.role for turn in record.prompt.messages] == ["system", "user"]


def test_the_first_turn_of_a_question_is_the_prompt(inspected: Inspected) -> None:
    row = {"question_id": 81, "category": "writing", "turns": ["Write a poem.", "Make it shorter."]}
    inspection = inspected(row, {"question_id": 82, "category": "math", "turns": ["6 · 7?"]})
    assert inspection.kind is Prompt
    assert [(prompt.id, prompt.messages[0].content) for prompt in inspection.records] == [
        ("81", "Write a poem."),
        ("82", "6 · 7?"),
    ]
    assert inspection.unread == ("category", "turns after the first")
    assert inspection.records[0].columns["category"] == "writing"
