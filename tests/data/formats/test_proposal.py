"""Proposed mappings: by names, nested, Chinese, and none where nothing fits."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from project import write_rows

from gnomon.core.errors import DataError
from gnomon.core.types import Prompt
from gnomon.data.formats.columns import parse_columns
from gnomon.data.formats.proposal import as_options, propose_columns
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import inspect


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"user_query": "Q", "model_reply": "A"}, {"prompt": "user_query", "completion": "model_reply"}),
        (
            {"meta": {"question": "Q"}, "better_text": "a", "worse_text": "b"},
            {"prompt": "meta.question", "chosen": "better_text", "rejected": "worse_text"},
        ),
        (
            {"dialog": [{"question": "Q"}], "bot.reply": "A", "liked": True},
            {"prompt": "dialog[0].question", "completion": '"bot.reply"', "label": "liked"},
        ),
        ({"问题": "Q", "回答": "A"}, {"prompt": "问题", "completion": "回答"}),
    ],
)
def test_a_proposal_reads_the_file(tmp_path: Path, row: dict[str, Any], mapping: dict[str, str]) -> None:
    assert propose_columns([row, row]) == mapping
    options = shlex.split(as_options(mapping))[1::2]
    assert parse_columns(options) == mapping
    file = tmp_path / "rows.jsonl"
    write_rows(file, [row])
    assert len(inspect(file, layout=RowLayout.of(columns=mapping)).records) == 1


def test_nothing_is_proposed_where_nothing_fits() -> None:
    assert propose_columns([{"x": "a", "y": 1}]) is None
    assert propose_columns([{"question": "Q"}]) is None
    assert propose_columns([{"question": 1, "reply": "A"}]) is None


def test_a_refusal_has_the_mapping_ready_to_paste(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_rows(file, [{"user_query": "Q", "model_reply": "A"}])
    with pytest.raises(DataError, match="with --columns prompt=user_query --columns completion=model_reply"):
        inspect(file)
    write_rows(file, [{"x": 1}])
    with pytest.raises(DataError, match="or map its columns with --columns KEY=COLUMN"):
        inspect(file)


def test_messages_are_proposed_whole_and_roles_and_ids_never() -> None:
    row = {
        "input": {"messages": [{"role": "user", "content": "q"}], "tools": []},
        "preferred_output": [{"role": "assistant", "content": "a"}],
        "non_preferred_output": [{"role": "assistant", "content": "b"}],
    }
    assert propose_columns([row]) == {
        "prompt": "input.messages", "chosen": "preferred_output", "rejected": "non_preferred_output",
    }  # fmt: skip
    answers = {"question": {"dataset": "x", "id": "1", "full_text": "q"}, "answer_0": "a", "answer_1": "b"}
    assert propose_columns([answers]) is None, "which of two answers is meant would be a guess"
    assert propose_columns([{"question": {"id": "1", "full_text": "q"}, "answer": "a"}]) == {
        "prompt": "question.full_text", "completion": "answer",
    }  # fmt: skip


def test_prompts_beside_several_answers_are_not_read_as_prompts_alone(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_rows(file, [{"prompt": "q", "answer1": "A1", "answer2": "A2", "pw": {"selected": "left"}}])
    with pytest.raises(DataError, match="the columns answer1, answer2 look like answers; map them"):
        inspect(file)
    assert inspect(file, layout=RowLayout.of("gnomon")).kind is Prompt


def test_the_first_of_several_items_is_not_proposed() -> None:
    """The others would be lost."""
    items = [{"user": "Q", "reply": "A"}, {"user": "R", "reply": "B"}]
    assert propose_columns([{"question": "Q", "log": items[:1]}]) == {
        "prompt": "question",
        "completion": "log[0].reply",
    }
    assert propose_columns([{"question": "Q", "log": items[:1]}, {"question": "Q", "log": items}]) is None


def test_a_list_of_answers_beside_a_prompt_is_not_left_unread(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_rows(file, [{"prompt": "Q", "responses": ["a", "b", "c"], "pairs": [[0, 1]]}] * 2)
    with pytest.raises(DataError, match="responses is a list of answers without a rank or score for each"):
        inspect(file)
    assert inspect(file, layout=RowLayout.of("gnomon")).kind is Prompt
