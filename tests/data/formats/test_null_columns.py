"""A null in a column that a row needs is named as null, whichever name the column has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Preference, Prompt
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"prompt": "Q", "completion": "A"}, "prompt"),
        ({"prompt": "Q", "completion": "A"}, "completion"),
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "rejected"),
        ({"question": "Q", "answer": "A"}, "question"),
        ({"query": "Q", "response": "A"}, "response"),
        ({"question": "Q", "chosen": "A", "rejected": "B"}, "question"),
        ({"question": "Q", "chosen": ["A"], "rejected": ["B"]}, "question"),
        ({"instruction": "Q", "output": "A"}, "output"),
        ({"instruction": "Q", "response": "A"}, "response"),
        ({"instruction": "Q", "input": "", "output": "A"}, "instruction"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, "conversations"),
        ({"context_messages": TURNS}, "context_messages"),
        ({"conversation": TURNS}, "conversation"),
        ({"question": "Q", "response_a": "A", "response_b": "B", "winner": "a"}, "question"),
        ({"question": "Q", "response_a": "A", "response_b": "B", "winner": "a"}, "response_b"),
    ],
)
def test_a_null_is_named(rows_file: Callable[..., Path], row: dict[str, Any], column: str) -> None:
    inspection = inspect(rows_file(row, row, {**row, column: None}))
    assert len(inspection.records) == 2
    (refused,) = inspection.refused
    assert refused.reason.partition(";")[0] == f"'{column}' is null"


def test_a_missing_column_is_named_with_those_that_are_there(rows_file: Callable[..., Path]) -> None:
    path = rows_file({"prompt": "Q", "chosen": "A", "rejected": "B"}, {"prompt": "Q", "chosen": "A"})
    with pytest.raises(DataError, match="line 2: no 'rejected' in it, which has prompt, chosen; a row is"):
        read_records(Preference, path)


def test_of_two_questions_in_a_row_none_is_guessed(rows_file: Callable[..., Path]) -> None:
    rows = [{"question": "Q", "answer": "A"}] * 2 + [{"question": "Q", "query": "R", "answer": "A"}]
    with pytest.raises(DataError, match="line 3: it has question and query; map the right one with --columns"):
        read_records(Demonstration, rows_file(*rows))


def test_a_blank_question_is_an_empty_prompt(rows_file: Callable[..., Path]) -> None:
    row = {"question": "Q", "response_a": "A", "response_b": "B", "winner": "a"}
    inspection = inspect(rows_file(row, row, {**row, "question": ""}))
    assert inspection.refused[0].reason == "the prompt is empty"


def test_a_layout_that_the_user_chose_names_its_null_too(rows_file: Callable[..., Path]) -> None:
    path = rows_file({"input": None, "label": "42", "datasource": "math"})
    with pytest.raises(DataError, match="line 1: 'input' is null"):
        read_records(Prompt, path, layout=RowLayout.of("openrlhf"))


def test_a_null_prompt_is_not_taken_from_the_words_that_both_sides_share(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": None, "chosen": "The sky is blue.", "rejected": "The sky is green."}
    with pytest.raises(DataError, match="line 1: 'prompt' is null"):
        inspect(rows_file(row))
    del row["prompt"]
    assert inspect(rows_file(row)).records[0].prompt.messages[0].content == "The sky is"
