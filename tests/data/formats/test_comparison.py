"""Two answers with a verdict: names of columns, numbers, words, several annotators."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.formats.common.verdicts import answer_pair, vote_for_first
from gnomon.data.formats.registry import RowLayout
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records

PROMPT = {"instruction": "Translate.", "input": "Haus"}


@pytest.mark.parametrize(
    ("columns", "verdict", "vote"),
    [
        (("output_1", "output_2"), 1, 1),
        (("output_1", "output_2"), 2.0, 0),
        (("output_1", "output_2"), 1.25, 0.75),
        (("output_1", "output_2"), "output_2", 0),
        (("response_A", "response_B"), "A>B", 1),
        (("response_A", "response_B"), "A < B", 0),
        (("response_A", "response_B"), "[[B>>A]]", 0),
        (("response_A", "response_B"), "A=B", 0.5),
        (("response_a", "response_b"), "model_b", 0),
        (("answer_0", "answer_1"), 0, 1),
        (("answer_0", "answer_1"), "1", 0),
        (("response1", "response2"), "Response 2", 0),
        (("response1", "response2"), "[[A]]", 1),
        (("response1", "response2"), "TIE", 0.5),
        (("answer-1", "answer-2"), "left", 1),
        (("Answer A", "Answer B"), "both bad", 0.5),
        (("response_a", "response_b"), "A is slightly better", 1),
        (("response_a", "response_b"), "Assistant B wins.", 0),
        (("response1", "response2"), "Response 2 is the best", 0),
        (("response1", "response2"), "Both are equally good", 0.5),
        (("response1", "response2"), "About the same", 0.5),
    ],
)
def test_verdicts(columns: tuple[str, str], verdict: Any, vote: float) -> None:
    pair = answer_pair({columns[0]: "x", columns[1]: "y", "model_a": "m", "model_b": "n"})
    assert pair is not None
    assert vote_for_first(verdict, pair, "label") == vote


@pytest.mark.parametrize(
    ("columns", "verdict"),
    [
        (("output_1", "output_2"), 0),
        (("output_1", "output_2"), 3),
        (("answer_0", "answer_1"), 2),
        (("response_A", "response_B"), 1),
        (("response_A", "response_B"), "C"),
        (("response_A", "response_B"), "A>A"),
        (("response_A", "response_B"), True),
        (("response_A", "response_B"), "unsure"),
        (("response_A", "response_B"), "C is better"),
        (("response_A", "response_B"), "A is not better"),
        (("answer_0", "answer_1"), [1, 0]),
    ],
)
def test_unknown_verdicts_are_refused(columns: tuple[str, str], verdict: Any) -> None:
    pair = answer_pair(dict.fromkeys(columns, "x"))
    assert pair is not None
    with pytest.raises(DataError, match=r"^label is .*, which is no verdict between"):
        vote_for_first(verdict, pair, "label")


@pytest.mark.parametrize(
    "columns",
    [("response_1", "response_2", "response_3"), ("response_a", "response_b", "answer_a", "answer_b"), ("text",)],
)
def test_more_or_fewer_than_two_answers_are_no_pair(columns: tuple[str, ...]) -> None:
    assert answer_pair(dict.fromkeys(columns, "x")) is None


def test_an_instruction_is_joined_with_its_input(rows_file: Callable[..., Path]) -> None:
    (record,) = read_records(
        Preference, rows_file({**PROMPT, "output_1": "house", "output_2": "mouse", "preference": 1})
    )
    assert record.prompt.messages[0].content == "Translate.\nHaus"
    assert (record.chosen.text, record.rejected.text, record.probability) == ("house", "mouse", 1)


def test_a_column_for_each_annotator_is_a_vote_and_ties_count_half(rows_file: Callable[..., Path]) -> None:
    answers = {**PROMPT, "response1": "mouse", "response2": "house"}
    votes = [(2, 2, 0), (1, 2, 0), (1, None, 1), (None, None, None), (2, 5, 1)]
    rows = [{**answers, "annotator1": a, "annotator2": b, "annotator3": c} for a, b, c in votes]
    inspection = inspect(rows_file(*rows))
    assert [(r.chosen.text, round(r.probability, 4)) for r in inspection.records] == [
        ("house", 0.8333),
        ("mouse", 0.5),
        ("mouse", 1),
    ]
    reasons = [one.reason for one in inspection.refused]
    assert reasons[0] == "nobody has judged it"
    assert reasons[1].startswith("annotator2 is 5, which is no verdict between response1 and response2")


def test_a_judges_probability_is_kept(rows_file: Callable[..., Path]) -> None:
    row = {**PROMPT, "output_1": "house", "output_2": "mouse", "preference": 1.25}
    (record,) = read_records(Preference, rows_file(row))
    assert (record.chosen.text, record.probability) == ("house", 0.75)


def test_votes_may_be_a_list(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "x", "response_a": "y", "response_b": "z", "votes": ["b", "tie", "b", "a"]}
    (record,) = read_records(Preference, rows_file(row))
    assert (record.chosen.text, record.probability) == ("z", 0.625)


def test_two_verdicts_are_not_chosen_between(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "x", "response_a": "y", "response_b": "z", "winner": "a", "label": "b"}
    with pytest.raises(DataError, match="it has several verdicts, winner and label; map the right one"):
        read_records(Preference, rows_file(row))


def test_equal_answers_are_unused(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "x", "response_a": "y", "response_b": "z", "winner": "a"}
    inspection = inspect(rows_file(row, {**row, "response_b": "y"}))
    assert [one.reason for one in inspection.refused] == ["both answers are the same"]


def test_an_answer_that_is_no_text_is_refused_by_its_column(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "x", "response_a": "y", "response_b": "z", "winner": "a"}
    inspection = inspect(rows_file(row, row, {**row, "response_b": True}, {**row, "response_a": None}))
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons[0] == "response_b: True is not a text"
    assert reasons[1] == "'response_a' is null"


def test_a_winner_may_be_the_name_of_a_model(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "x", "response_a": "y", "response_b": "z", "model_a": "m", "model_b": "n"}
    same = {**row, "model_b": "m"}
    path = rows_file(*({**row, "winner": one} for one in ("n", "m", "tie", "o")), {**same, "winner": "m"})
    inspection = inspect(path)
    assert [(r.chosen.text, r.probability) for r in inspection.records] == [("z", 1), ("y", 1), ("y", 0.5)]
    assert [one.where for one in inspection.refused] == ["line 4", "line 5"]
    assert "model_a" not in inspection.unread


def test_a_model_that_is_called_like_the_other_answer_is_not_guessed(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "x", "response_1": "y", "response_2": "z", "model_1_name": "m", "model_2_name": "n"}
    read = inspect(rows_file({**row, "winner": "n"}, {**row, "model_1_name": "B", "winner": "B"}))
    assert [one.chosen.text for one in read.records] == ["z"]
    assert read.refused[0].reason == "winner is 'B', which is one answer's model and the name of the other"


def test_images_are_part_of_the_prompt(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "x", "response_a": "y", "response_b": "z", "winner": "a"}
    plain, drawn = inspect(rows_file(row, {**row, "images": ["a.png"]})).records
    assert plain.prompt.id != drawn.prompt.id
    assert [one.source for one in drawn.prompt.messages[0].media] == ["a.png"]


def test_verdicts_of_0_and_1_beside_answers_1_and_2_refuse_the_whole_file(tmp_path: Path) -> None:
    """In such a file 1 means the second answer, and the rows before the first 0 would be inverted."""
    rows = [{"prompt": f"q{w}", "response_1": "a", "response_2": "b", "winner": w} for w in (1, 1, 0)]
    file = tmp_path / "votes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"votes\.jsonl, line 3: winner is 0.*chosen=\{by: winner, 0: response_1"):
        read_records(Preference, file)
    chosen = {"by": "winner", 0: "response_1", 1: "response_2"}
    rejected = {"by": "winner", 0: "response_2", 1: "response_1"}
    layout = RowLayout.of(columns={"prompt": "prompt", "chosen": chosen, "rejected": rejected})
    assert [one.chosen.text for one in read_records(Preference, file, layout=layout)] == ["b", "b", "a"]


@pytest.mark.parametrize("column", ["messages", "conversation"])
def test_a_conversation_may_be_what_both_answer(rows_file: Callable[..., Path], column: str) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    row = {column: [*turns, {"role": "user", "content": "And?"}], "response_a": "y", "response_b": "z"}
    (record,) = inspect(rows_file({**row, "winner": "b"})).records
    assert [turn.content for turn in record.prompt.messages] == ["Hi", "Hello!", "And?"]
    assert record.chosen.text == "z"
