"""Two answers with a score each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.types import Preference
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


@pytest.mark.parametrize(
    ("answers", "scores"),
    [
        (("answer_0", "answer_1"), ("score_0", "score_1")),
        (("response_a", "response_b"), ("rating_a", "rating_b")),
        (("output1", "output2"), ("Score 1", "Score 2")),
    ],
)
def test_the_higher_score_is_chosen_with_the_difference_as_margin(
    rows_file: Callable[..., Path], answers: tuple[str, str], scores: tuple[str, str]
) -> None:
    pairs = [(1, 3.5), ("2", 0), (2, 2)]
    rows = [
        {"question": "Name a film.", answers[0]: "Ran.", answers[1]: "No.", scores[0]: a, scores[1]: b}
        for a, b in pairs
    ]
    records = read_records(Preference, rows_file(*rows))
    assert [(r.chosen.text, r.probability, r.margin) for r in records] == [
        ("No.", 1, 2.5),
        ("Ran.", 1, 2),
        ("Ran.", 0.5, 0),
    ]


def test_a_question_may_be_an_object_with_its_text(rows_file: Callable[..., Path]) -> None:
    question = {"dataset": "eli5", "full_text": "Name a film."}
    inspection = inspect(
        rows_file({"question": question, "answer_0": "Ran.", "answer_1": "No.", "score_0": 1, "score_1": 0})
    )
    assert inspection.records[0].prompt.messages[0].content == "Name a film."
    assert inspection.unread == ("question.dataset",)


def test_a_verdict_goes_before_scores(rows_file: Callable[..., Path]) -> None:
    row: dict[str, Any] = {"prompt": "q", "response_a": "x", "response_b": "y", "score_a": 3, "score_b": 1}
    inspection = inspect(rows_file({**row, "winner": "b"}))
    assert inspection.records[0].chosen.text == "y"
    assert inspection.unread == ("score_a", "score_b")


def test_scores_that_are_no_numbers_are_refused(rows_file: Callable[..., Path]) -> None:
    row: dict[str, Any] = {"prompt": "q", "response_a": "x", "response_b": "y", "score_a": 3, "score_b": 1}
    inspection = inspect(rows_file(row, row, {**row, "score_b": "low"}, {**row, "score_a": None}))
    assert [one.reason for one in inspection.refused] == [
        "score_b is 'low', not a finite number",
        "'score_a' is null",
    ]
