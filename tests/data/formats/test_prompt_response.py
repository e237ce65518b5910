"""Prompts with responses under many names, and the two readings of a prompt with an answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Preference, Prompt
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import Inspection, inspect
from gnomon.data.records import read_records, record_media

Inspected = Callable[..., Inspection]
RecordsOf = Callable[..., list[Any]]


@pytest.mark.parametrize("question", ["prompt", "question", "query", "input"])
@pytest.mark.parametrize("answer", ["response", "output", "answer", "reply", "completion"])
def test_a_column_for_the_prompt_and_one_for_the_response_are_a_demonstration(
    records_of: RecordsOf, question: str, answer: str
) -> None:
    (record,) = records_of(Demonstration, {question: "Name a river.", answer: " The Spree. "})
    assert [turn.content for turn in record.prompt.messages] == ["Name a river."]
    assert record.completion.text == " The Spree. "
    assert record.prompt.answer is None


def test_without_a_wanted_kind_they_are_demonstrations_with_the_reason(inspected: Inspected) -> None:
    inspection = inspected({"prompt": "Name a river.", "response": "The Spree.", "source": "me", "weight": 2})
    assert inspection.kind is Demonstration
    assert inspection.evidence == "it has the columns prompt and response"
    assert inspection.unread == ("source",)
    assert inspection.records[0].weight == 2.0


def test_a_prompt_with_an_answer_has_two_readings_and_each_has_its_flag(file_of: Callable[..., Path]) -> None:
    path = file_of({"prompt": "6 · 7?", "answer": "42"})
    with pytest.raises(DataError) as error:
        inspect(path)
    for part in ("--format prompt-response", "--format gnomon", "columns prompt and answer", "choose one"):
        assert part in str(error.value)
    assert inspect(path, layout=RowLayout.of("prompt-response")).kind is Demonstration
    assert inspect(path, layout=RowLayout.of("gnomon")).kind is Prompt


def test_a_stage_that_wants_one_kind_decides_between_the_readings(records_of: RecordsOf) -> None:
    row = {"prompt": "6 · 7?", "answer": "42"}
    (demonstration,) = records_of(Demonstration, row)
    assert (demonstration.completion.text, demonstration.prompt.answer) == ("42", None)
    (prompt,) = records_of(Prompt, row)
    assert (prompt.answer, prompt.columns["prompt"]) == ("42", "6 · 7?")


def test_as_prompts_the_answer_is_known_and_other_columns_stay_for_rewards(records_of: RecordsOf) -> None:
    (prompt,) = records_of(Prompt, {"question": "6 · 7?", "answer": "42", "level": 3})
    assert prompt.answer == "42"
    assert dict(prompt.columns) == {"prompt": "6 · 7?", "answer": "42", "level": 3}
    (other,) = records_of(Prompt, {"query": "6 · 7?", "response": "42"})
    assert (other.answer, other.columns["response"]) == (None, "42")


def test_beside_a_response_the_answer_is_the_known_one(records_of: RecordsOf) -> None:
    (record,) = records_of(Demonstration, {"question": "6 · 7?", "response": "6 · 7 = 42", "answer": "42"})
    assert (record.completion.text, record.prompt.answer) == ("6 · 7 = 42", "42")


def test_labels_make_labeled_completions(inspected: Inspected, records_of: RecordsOf) -> None:
    rows = [{"prompt": "Q", "response": "A", "label": True}, {"prompt": "Q", "response": "B", "label": False}]
    inspection = inspected(*rows)
    assert inspection.kind is Label
    assert [record.good for record in inspection.records] == [True, False]
    with pytest.raises(DataError, match="the row has label, which calls its completion good or bad"):
        records_of(Demonstration, *rows)


def test_pairs_with_a_question_and_a_system_column(inspected: Inspected) -> None:
    inspection = inspected({"system": "Be brief.", "question": "Q", "chosen": "A", "rejected": "B"})
    (record,) = inspection.records
    assert inspection.kind is Preference
    assert [(turn.role, turn.content) for turn in record.prompt.messages] == [
        ("system", "Be brief."),
        ("user", "Q"),
    ]
    assert (record.chosen.text, record.rejected.text) == ("A", "B")


def test_responses_may_be_messages_and_columns_that_change_the_meaning_are_kept_or_refused(
    records_of: RecordsOf,
) -> None:
    turns = [{"role": "user", "content": "Q"}]
    (record,) = records_of(Demonstration, {"input": turns[0], "answer": [{"role": "assistant", "content": "A"}]})
    assert record.completion.text == "A"
    (drawn,) = records_of(Demonstration, {"question": "Q", "answer": "A", "images": ["a.png"]})
    assert [one.source for one in record_media(drawn)] == ["a.png"]
    with pytest.raises(DataError, match=r"line 1: the row has documents, which Gnomon does not render"):
        records_of(Demonstration, {"question": "Q", "answer": "A", "documents": ["a"]})


def test_columns_of_two_prompts_or_two_responses_are_not_guessed(file_of: Callable[..., Path]) -> None:
    for row in ({"question": "Q", "query": "R", "answer": "A"}, {"question": "Q", "output": "A", "reply": "B"}):
        with pytest.raises(DataError, match="no row is a record of any kind"):
            inspect(file_of(row))


def test_a_blank_prompt_is_refused_with_its_line(file_of: Callable[..., Path]) -> None:
    path = file_of({"question": "Q", "answer": "A"}, {"question": "", "answer": "A"})
    with pytest.raises(DataError, match=r"rows\.jsonl, line 2: the prompt is empty"):
        read_records(Demonstration, path)
