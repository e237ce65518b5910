"""HelpSteer: neighboring rows as pairs, prompts of several turns, strengths and annotators' votes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, RatedText
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


def rated(prompt: str, response: str, helpfulness: Any) -> dict[str, Any]:
    others = {"correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 1}
    return {"prompt": prompt, "response": response, "helpfulness": helpfulness, **others}


def test_two_neighboring_rows_of_a_prompt_are_a_pair(rows_file: Callable[..., Path]) -> None:
    path = rows_file(
        rated("Why?", "So.", 1),
        rated("Why?", "Because.", 4),
        rated("Alone?", "Yes.", 2),
        rated("Same?", "No.", 3),
        rated("Same?", "Maybe.", 3),
    )
    inspection = inspect(path)
    assert [(r.chosen.text, r.rejected.text, r.probability, r.margin) for r in inspection.records] == [
        ("Because.", "So.", 1, 3),
        ("No.", "Maybe.", 0.5, 0),
    ]
    assert [(one.where, one.reason) for one in inspection.refused] == [
        ("line 3", "no row beside it has the same prompt")
    ]


def test_a_damaged_row_takes_no_other_with_it(rows_file: Callable[..., Path]) -> None:
    path = rows_file(
        rated("Why?", "So.", 1), rated("Why?", "x", "high"), rated("How?", "Thus.", 0), rated("How?", "So.", 2)
    )
    inspection = inspect(path)
    assert [r.chosen.text for r in inspection.records] == ["So."]
    assert [one.where for one in inspection.refused] == ["line 2", "line 1"]


def test_equal_answers_are_both_unused(rows_file: Callable[..., Path]) -> None:
    path = rows_file(rated("A", "x", 1), rated("A", "x", 2), rated("B", "y", 1), rated("B", "z", 2))
    assert [one.where for one in inspect(path).refused] == ["line 1", "line 2"]


def test_texts_are_rated_by_helpfulness(rows_file: Callable[..., Path]) -> None:
    (record,) = read_records(RatedText, rows_file(rated("Why?", "So.", 2)))
    assert (record.text, record.ratings) == ("So.", (2.0,))
    with pytest.raises(DataError, match=r"helpfulness is 5\.0, outside 0\.0 to 4\.0"):
        read_records(RatedText, rows_file(rated("Why?", "So.", 5)))


def test_marks_split_a_prompt_into_turns(rows_file: Callable[..., Path]) -> None:
    prompt = "Hi\n\n<extra_id_1>Assistant\nHello!\n<extra_id_1>User\nName a film."
    (record,) = read_records(Preference, rows_file(rated(prompt, "Ran.", 4), rated(prompt, "No.", 0)))
    assert [(turn.role, turn.content) for turn in record.prompt.messages] == [
        ("user", "Hi\n"),
        ("assistant", "Hello!"),
        ("user", "Name a film."),
    ]


def compared(strength: Any, *votes: int) -> dict[str, Any]:
    row = {"context": [{"role": "user", "content": "Why?"}], "response1": "So.", "response2": "Because."}
    individual = [{"score": vote, "reasoning": "r"} for vote in votes]
    return {"domain": "general", **row, "overall_preference": strength, "individual_preference": individual}


def test_votes_make_the_probability_and_the_overall_strength_the_margin(rows_file: Callable[..., Path]) -> None:
    path = rows_file(compared(2, 1, 3, -1), compared(-3), compared(0, -1, 1), compared(4, 1))
    inspection = inspect(path)
    assert [(r.chosen.text, round(r.probability, 3), r.margin) for r in inspection.records] == [
        ("Because.", 0.667, 2),
        ("So.", 1, 3),
        ("So.", 0.5, 0),
    ]
    assert inspection.refused[0].reason.startswith("overall_preference is 4.0, outside -3 to 3")


def test_the_older_columns_are_read_too(rows_file: Callable[..., Path]) -> None:
    row = {"prompt": "Why?", "response_1": "So.", "response_2": "Because.", "preference_strength": -2}
    (record,) = read_records(Preference, rows_file(row))
    assert (record.chosen.text, record.margin) == ("So.", 2)
