"""UltraFeedback as published, and in the binarized form that Zephyr was trained on.

Cui et al. 2023, arXiv 2310.01377; Tunstall et al. 2023, arXiv 2310.16944.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import NamedScores, Preference, Ranking, RatedText
from gnomon.data.formats.common.judged_answers import (
    ScoredAnswer,
    preference,
    preferences,
    ranking,
    share_of,
)
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import finite, listed, mapping, required, text

# Early releases hold ratings of 1 as 10: https://github.com/OpenBMB/UltraFeedback/issues/8
BEST, POOR = 10, 2


class UltraFeedback(Format):
    """An instruction with several completions, each with an `overall_score` and a rating of four aspects."""

    name = "ultrafeedback"
    title = "UltraFeedback rows"
    kinds = (Preference, Ranking, RatedText, NamedScores)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Completions are objects with `response` and `overall_score`."""
        cells = row.get("completions")
        if row.get("instruction") is None or not isinstance(cells, list) or not cells:
            return None
        scored = all(isinstance(one, Mapping) and {"response", "overall_score"} <= one.keys() for one in cells)
        return "completions hold a response and an overall_score" if scored else None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Compare the completions by `overall_score`, or score each by its aspects."""
        prompt = {"prompt": text(required(row, "instruction"), "instruction")}
        if kind is NamedScores:
            cells = [mapping(one) for one in listed(required(row, "completions"), "completions")]
            return [{**prompt, "completion": _answer(one), "scores": _aspects(one)} for one in cells]
        answers = [_scored(mapping(one)) for one in listed(required(row, "completions"), "completions")]
        if kind is RatedText:
            return [{**prompt, "text": one.completion, "rating": one.score} for one in answers]
        return preferences(prompt, answers) if kind is Preference else [ranking(prompt, answers)]


class UltraFeedbackBinarized(Format):
    """The best completion against another one, with the scores of both."""

    name = "ultrafeedback-binarized"
    title = "binarized UltraFeedback rows"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Two answers with `score_chosen` and `score_rejected`."""
        keys = ("chosen", "rejected", "score_chosen", "score_rejected")
        if all(row.get(key) is not None for key in keys):
            return "chosen and rejected have score_chosen and score_rejected"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Take the difference of the scores as margin; equal scores are a tie."""
        scores = [finite(required(row, key), key) for key in ("score_chosen", "score_rejected")]
        if scores[0] < scores[1]:
            raise DataError(f"score_chosen is {scores[0]:g}, below score_rejected, {scores[1]:g}")
        prompt = {key: row[key] for key in ("prompt", "system") if row.get(key) not in (None, "")}
        sides = required(row, "chosen"), required(row, "rejected")
        yield preference(prompt, *sides, share_of(*scores), scores[0] - scores[1])


def _answer(completion: Mapping[str, Any]) -> str:
    return text(required(completion, "response"), "response")


def _aspects(completion: Mapping[str, Any]) -> Row:
    """Return the rating of each aspect; one that is not available is absent."""
    annotations = mapping(required(completion, "annotations"))
    ratings = {
        aspect: mapping(annotations[aspect]).get("Rating") for aspect in annotations if annotations[aspect]
    }
    return {aspect: rating for aspect, rating in ratings.items() if rating not in (None, "", "N/A")}


def _scored(completion: Mapping[str, Any]) -> ScoredAnswer:
    answer = _answer(completion)
    score = finite(required(completion, "overall_score"), "overall_score")
    aspects = completion.get("fine-grained_score")
    if score == BEST and aspects is not None and finite(aspects, "fine-grained_score") <= POOR:
        raise UnusedRow("an overall_score of 10 contradicts a fine-grained_score of 2 or less: it was a 1")
    return ScoredAnswer(answer, score)
