"""PRM800K: alternatives of a step under the problem and the steps that were chosen before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnomon.core.types import Label, Preference
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


def step(chosen: int | None, *rated: tuple[str, int | None], human: str | None = None) -> dict[str, Any]:
    completions = [{"text": text, "rating": rating, "flagged": None} for text, rating in rated]
    written = None if human is None else {"text": human, "rating": None, "source": "human"}
    return {"completions": completions, "human_completion": written, "chosen_completion": chosen}


def solution(*steps: dict[str, Any]) -> dict[str, Any]:
    question = {"problem": "1+2*3?", "ground_truth_answer": "7"}
    return {"labeler": "l", "question": question, "label": {"steps": list(steps), "finish_reason": "solution"}}


FIRST = step(0, ("2*3=6", 1), ("1+2=3", -1))
SECOND = step(None, ("1+6=8", -1), ("1+6=7", 1), ("So 7?", 0), ("?", None))


def test_alternatives_with_different_ratings_are_pairs(rows_file: Callable[..., Path]) -> None:
    path = rows_file(solution(FIRST, SECOND))
    records = read_records(Preference, path)
    assert inspect(path).kind is Preference
    assert {r.prompt.messages[0].content for r in records} == {"1+2*3?"}
    assert [(r.chosen.text, r.rejected.text, r.margin) for r in records] == [
        ("2*3=6", "1+2=3", 2),
        ("2*3=6\n1+6=7", "2*3=6\n1+6=8", 2),
        ("2*3=6\nSo 7?", "2*3=6\n1+6=8", 1),
        ("2*3=6\n1+6=7", "2*3=6\nSo 7?", 1),
    ]


def test_right_and_wrong_steps_are_labels(rows_file: Callable[..., Path]) -> None:
    labels = [(r.completion.text, r.good) for r in read_records(Label, rows_file(solution(FIRST, SECOND)))]
    assert labels == [("2*3=6", True), ("1+2=3", False), ("2*3=6\n1+6=8", False), ("2*3=6\n1+6=7", True)]


def test_single_alternatives_make_a_file_of_labels(rows_file: Callable[..., Path]) -> None:
    rows = [solution(step(0, ("2*3=6", 1)), step(None, ("1+6=7", 1)))] * 2 + [solution(FIRST)]
    assert inspect(rows_file(*rows)).kind is Label


def test_a_step_written_by_a_person_leads_to_the_next(rows_file: Callable[..., Path]) -> None:
    steps = step(None, ("1+2=3", -1), human="2*3=6"), step(None, ("1+6=7", 1), ("1+6=8", -1))
    (record,) = read_records(Preference, rows_file(solution(*steps)))
    assert record.chosen.text == "2*3=6\n1+6=7"


def test_broken_chains_and_unknown_ratings_are_refused(rows_file: Callable[..., Path]) -> None:
    broken = solution(step(None, ("2*3=6", 1)), SECOND)
    beyond = solution(step(5, ("2*3=6", 1), ("1", -1)), SECOND)
    unknown = solution(step(0, ("2*3=6", 3)), SECOND)
    alone = solution(step(None, ("2*3=6", 1)))
    inspection = inspect(rows_file(solution(FIRST), broken, beyond, unknown, alone, *[solution(FIRST)] * 3))
    reasons = [one.reason.partition(";")[0] for one in inspection.refused]
    assert reasons == [
        "step 1 has no chosen completion, but another step follows",
        "step 1: chosen_completion is 5, which is none of its completions",
        "a rating is 3, which is none of -1, 0 and 1",
        "no step has alternatives with different ratings",
    ]
