"""Votes of a forum's readers: Stack Exchange answers with scores or in pairs, SHP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnomon.core.types import Preference, Ranking
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


def question(**scores: Any) -> dict[str, Any]:
    answers = [
        {"answer_id": n, "text": name, "pm_score": score} for n, (name, score) in enumerate(scores.items())
    ]
    return {"qid": 1, "question": "Why?", "answers": answers, "date": "2020/01/01"}


def test_answers_are_compared_by_their_scores(rows_file: Callable[..., Path]) -> None:
    path = rows_file(question(a=1, b=4, c=1))
    pairs = [(r.chosen.text, r.rejected.text, r.probability, r.margin) for r in read_records(Preference, path)]
    assert pairs == [("b", "a", 1, 3), ("a", "c", 0.5, 0), ("b", "c", 1, 3)]
    (ranking,) = read_records(Ranking, path)
    assert [one.text for one in ranking.completions] == ["b", "a"]


def test_a_question_with_one_answer_is_unused(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(question(a=1), question(a=1, b=2)))
    assert [one.reason for one in inspection.refused] == ["it has no two different answers"]


def test_the_first_of_a_pair_is_the_better(rows_file: Callable[..., Path]) -> None:
    row = {"qid": 1, "question": "Why?", "response_j": "Because.", "response_k": "So."}
    (record,) = read_records(Preference, rows_file(row))
    assert (record.chosen.text, record.rejected.text) == ("Because.", "So.")


def post(label: Any, a: int = 9, b: int = 2) -> dict[str, Any]:
    sides = {"human_ref_A": "Stir.", "human_ref_B": "Wait.", "score_A": a, "score_B": b}
    return {"post_id": "x", "domain": "cooking", "history": "How?", **sides, "labels": label}


def test_labels_of_shp_are_1_for_the_first(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(post(1), post(0, 1, 5), post(0), post(2)))
    assert [r.chosen.text for r in inspection.records] == ["Stir.", "Wait."]
    assert inspection.records[0].prompt.messages[0].content == "How?"
    reasons = [one.reason for one in inspection.refused]
    assert reasons[0].startswith("labels is 0, but score_A is 9 and score_B 2")
    assert reasons[1].startswith("labels is 2, neither 1 for A nor 0 for B")
