"""Written answers: lengths, verdicts, and which texts count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from gnomon.core.errors import ConfigError, DataError
from gnomon.feedback.task_types import check_answer, check_settings, limits_of, setup_of, vote_label, worth
from gnomon.feedback.written_answers import tidy, verdict_of, without_unmatched_reviews, written_texts


@dataclass(frozen=True)
class Answered:
    id: str
    answer: dict[str, Any]


def check(answer: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return check_answer("demonstration", setup_of(settings), 0, answer)


def test_blank_lines_around_a_text_are_removed_and_indentation_stays() -> None:
    assert check({"text": "\r\n  \n    def f():\r\n        pass\n\n"}) == {"text": "    def f():\n        pass"}
    assert tidy("一\r二  \n") == "一\n二"
    assert tidy(" \n\t\n") == ""


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({}, "there is no text"),
        ({"text": " \n "}, "there is no text"),
        ({"text": "\u200b" * 6}, "there is no text"),
        ({"text": "\x01" * 7}, "there is no text"),
        ({"text": "a\u200b\u200b\u200b\u200b b"}, "has 3 characters, and 5 are required"),
        ({"text": "四个字符"}, "has 4 characters, and 5 are required"),
        ({"text": "x" * 11}, "has 11 characters, and 10 are the limit"),
        ({"text": "fine text", "rejected": True}, "a rejected text has no other text"),
        ({"text": "fine text", "choice": "first"}, "does not fit the task 'demonstration'"),
        ({"text": 7}, "does not fit the task"),
    ],
    ids=str,
)
def test_texts_outside_the_limits_are_refused(answer: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        check(answer, min_answer_chars=5, max_answer_chars=10)
    assert check({"text": "12345"}, min_answer_chars=5, max_answer_chars=10) == {"text": "12345"}


def test_lengths_count_characters_not_bytes_or_code_units() -> None:
    assert check({"text": "😀" * 10}, max_answer_chars=10)["text"] == "😀" * 10


def test_a_written_answer_has_a_label_and_no_worth() -> None:
    for answer, label in (
        ({"text": "a"}, "written"),
        ({"text": "a", "reviews": "j", "verdict": "approved"}, "approved"),
        ({"text": "b", "reviews": "j", "verdict": "revised"}, "revised"),
        ({"rejected": True, "reviews": "j", "verdict": "rejected"}, "rejected"),
        ({"rejected": True}, "rejected"),
    ):
        assert vote_label(answer, [], []) == label
        assert worth(answer, []) == {}


def test_the_verdict_follows_from_the_texts() -> None:
    assert verdict_of({"text": "a"}, {"text": "a"}) == "approved"
    assert verdict_of({"text": "b"}, {"text": "a"}) == "revised"
    assert verdict_of({"rejected": True}, {"text": "a"}) == "rejected"


def test_texts_are_matched_with_their_reviews() -> None:
    judgements = [
        Answered("1", {"text": "one"}),
        Answered("2", {"text": "two"}),
        Answered("3", {"text": "three"}),
        Answered("r1", {"text": "better", "reviews": "1", "verdict": "revised"}),
        Answered("r2", {"rejected": True, "reviews": "2", "verdict": "rejected"}),
        Answered("r9", {"text": "gone", "reviews": "9", "verdict": "approved"}),
    ]
    texts = written_texts(judgements)
    assert [(one.written.id, one.review and one.review.id, one.text) for one in texts] == [
        ("1", "r1", "better"),
        ("2", "r2", "two"),
        ("3", None, "three"),
    ]
    assert [one.id for one in without_unmatched_reviews(judgements)] == ["1", "2", "3", "r1", "r2"]
    assert [one.outcome(approval=True) for one in texts] == ["accepted", "rejected", "unreviewed"]
    assert [one.outcome(approval=False) for one in texts] == ["accepted", "rejected", "accepted"]


def test_settings_of_other_tasks_are_refused() -> None:
    check_settings("demonstration", {"approval": True, "min_answer_chars": 5, "confidence": True})
    for task, setting in (("demonstration", "rewrite"), ("demonstration", "gold_rate"), ("pair", "approval")):
        with pytest.raises(ConfigError, match=f"a {task} has no {setting}, which is a setting of"):
            check_settings(task, {setting: True})
    with pytest.raises(ConfigError, match="no answer can have 9 to 8 characters; swap"):
        limits_of(setup_of({"min_answer_chars": 9, "max_answer_chars": 8}))
