"""Answers: valid and invalid ones, and their labels and values in any displayed order."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.core.errors import ConfigError, DataError
from gnomon.feedback.task_types import Setup, check_answer, full_label, setup_of, worth

VALID: list[tuple[str, int, dict[str, Any]]] = [
    ("pair", 2, {"choice": "tie"}),
    ("pair", 2, {"choice": "first", "rewrite": {"place": 1, "text": "Better."}}),
    ("ranking", 3, {"order": [2, 0, 1]}),
    ("rating", 1, {"scores": [{"helpful": 1, "harmless": 10, "honest": 5}]}),
    ("likert", 2, {"scores": [{"overall": 1}, {"overall": 5}]}),
]
INVALID: list[tuple[str, int, dict[str, Any]]] = [
    ("pair", 2, {"choice": "third"}),
    ("pair", 2, {}),
    ("pair", 2, {"choice": "first", "rewrite": {"place": 2, "text": "Better."}}),
    ("pair", 2, {"choice": "first", "rewrite": {"place": 0, "text": ""}}),
    ("pair", 2, {"order": [0, 1]}),
    ("ranking", 3, {"order": [2, 0]}),
    ("ranking", 3, {"order": [2, 0, 0]}),
    ("ranking", 3, {"order": [1, 2, 3]}),
    ("rating", 1, {"scores": [{"helpful": 0, "harmless": 10, "honest": 5}]}),
    ("rating", 1, {"scores": [{"helpful": 11, "harmless": 10, "honest": 5}]}),
    ("rating", 1, {"scores": [{"helpful": True, "harmless": 10, "honest": 5}]}),
    ("rating", 1, {"scores": [{"helpful": 1.5, "harmless": 10, "honest": 5}]}),
    ("rating", 1, {"scores": [{"helpful": 1, "harmless": 10}]}),
    ("rating", 2, {"scores": [{"helpful": 1, "harmless": 10, "honest": 5}]}),
    ("likert", 1, {"scores": [{"overall": 6}]}),
]


@pytest.mark.parametrize(("task", "count", "answer"), VALID)
def test_valid_answers_are_returned_unchanged(task: str, count: int, answer: dict[str, Any]) -> None:
    assert check_answer(task, Setup(), count, answer) == answer


@pytest.mark.parametrize(("task", "count", "answer"), INVALID)
def test_invalid_answers_are_refused(task: str, count: int, answer: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="answer again"):
        check_answer(task, Setup(), count, answer)


def test_scores_need_the_criteria_of_the_project() -> None:
    setup = Setup(criteria=("kind", "short"))
    answer = {"scores": [{"kind": 1, "short": 5}]}
    assert check_answer("likert", setup, 1, answer) == answer
    with pytest.raises(DataError, match="each criterion"):
        check_answer("likert", setup, 1, {"scores": [{"overall": 1}]})
    assert setup.criteria_of("pair") == ()


def test_labels_do_not_depend_on_the_displayed_order() -> None:
    item = ("x", "y", "z")
    assert (
        full_label({"choice": "first"}, ("y", "x"), item[:2])
        == full_label({"choice": "second"}, ("x", "y"), item[:2])
        == "b"
    )
    assert full_label({"choice": "bad"}, ("y", "x"), item[:2]) == "bad"
    assert full_label({"order": [0, 1, 2]}, ("z", "x", "y"), item) == (2, 0, 1)
    assert full_label({"order": [2, 0, 1]}, ("x", "y", "z"), item) == (2, 0, 1)
    scores = [{"k": 1, "a": 2}, {"a": 4, "k": 3}]
    assert full_label({"scores": scores}, ("y", "x"), item[:2]) == ((("a", 4), ("k", 3)), (("a", 2), ("k", 1)))


def test_worth_by_hand() -> None:
    assert worth({"choice": "second"}, ("y", "x")) == {"y": 0.0, "x": 1.0}
    assert worth({"choice": "tie"}, ("y", "x")) == {"y": 0.5, "x": 0.5}
    assert worth({"order": [2, 0, 1]}, ("x", "y", "z")) == {"z": 2.0, "x": 1.0, "y": 0.0}
    assert worth({"scores": [{"a": 1, "b": 4}, {"a": 5, "b": 5}]}, ("x", "y")) == {"x": 2.5, "y": 5.0}


def test_the_error_for_an_invalid_setting_names_it() -> None:
    with pytest.raises(ConfigError, match="'gold_rat'"):
        setup_of({"gold_rat": 0.1})
    with pytest.raises(ConfigError, match="'min_reliability'"):
        setup_of({"min_reliability": 2})
