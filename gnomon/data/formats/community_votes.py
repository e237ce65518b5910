"""Answers that readers of a forum voted on: Stack Exchange, and Reddit as in SHP.

Askell et al. 2021, arXiv 2112.00861, for the score of Stack Exchange answers; Ethayarajh et al. 2022 for SHP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking
from gnomon.data.formats.common.judged_answers import (
    ScoredAnswer,
    preference,
    preferences,
    ranking,
    share_of,
)
from gnomon.data.formats.contract import Format
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, finite, listed, mapping, required, text

SCORES = ("pm_score", "score", "votes")
SHARES = {"1": 1.0, "0": 0.0}  # labels of SHP: 1 for answer A


class StackExchange(Format):
    """A question with answers, each with a score by its votes."""

    name = "stack-exchange"
    title = "questions with answers and votes"
    kinds = (Preference, Ranking)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """`question`, and `answers` that hold `text` and a score."""
        answers = row.get("answers")
        if row.get("question") is None or not isinstance(answers, list) or not answers:
            return None
        scored = all(isinstance(one, Mapping) and "text" in one and _score_key(one) for one in answers)
        return f"answers hold a text and a {_score_key(answers[0])}" if scored else None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Compare the answers by their scores."""
        prompt = {"prompt": text(required(row, "question"), "question")}
        answers = [_scored(mapping(one)) for one in listed(required(row, "answers"), "answers")]
        return preferences(prompt, answers) if kind is Preference else [ranking(prompt, answers)]


class StackExchangePairs(Format):
    """A question with the better answer, `response_j`, and the worse one, `response_k`."""

    name = "stack-exchange-pairs"
    title = "paired Stack Exchange answers"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """`question`, `response_j` and `response_k`."""
        if all(row.get(key) is not None for key in ("question", "response_j", "response_k")):
            return "response_j and response_k answer a question"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Prefer `response_j`."""
        sides = [text(required(row, key), key) for key in ("response_j", "response_k")]
        yield preference({"prompt": text(required(row, "question"), "question")}, sides[0], sides[1], 1.0)


class SHP(Format):
    """A post with two comments; the one with more votes, though it is not older, is preferred."""

    name = "shp"
    title = "Stanford Human Preferences"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """`history`, `human_ref_A`, `human_ref_B` and `labels`."""
        if all(row.get(key) is not None for key in ("history", "human_ref_A", "human_ref_B", "labels")):
            return "human_ref_A and human_ref_B have labels"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Prefer by the label, with which the scores must agree."""
        label = required(row, "labels")
        if isinstance(label, bool) or str(label) not in SHARES:
            raise DataError(f"labels is {brief(label)}, neither 1 for A nor 0 for B")
        share = SHARES[str(label)]
        if row.get("score_A") is not None and row.get("score_B") is not None:
            votes = finite(row["score_A"], "score_A"), finite(row["score_B"], "score_B")
            if share_of(*votes) == 1 - share:
                raise DataError(f"labels is {label}, but score_A is {votes[0]:g} and score_B {votes[1]:g}")
        sides = [text(required(row, key), key) for key in ("human_ref_A", "human_ref_B")]
        yield preference({"prompt": text(required(row, "history"), "history")}, sides[0], sides[1], share)


def _score_key(answer: Mapping[str, Any]) -> str | None:
    return next((key for key in SCORES if answer.get(key) is not None), None)


def _scored(answer: Mapping[str, Any]) -> ScoredAnswer:
    key = _score_key(answer) or SCORES[0]
    return ScoredAnswer(text(required(answer, "text")), finite(required(answer, key), key))
