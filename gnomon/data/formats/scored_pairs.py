"""Two answers with a score each, as in WebGPT's comparisons: `answer_0`, `answer_1`, `score_0`, `score_1`.

Nakano et al. 2021, arXiv 2112.09332; https://huggingface.co/datasets/openai/webgpt_comparisons
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.formats.common.judged_answers import preference, share_of
from gnomon.data.formats.common.question_columns import answer_cell, has_question, question_of
from gnomon.data.formats.common.verdicts import AnswerPair, answer_pair
from gnomon.data.formats.comparison import verdict_columns
from gnomon.data.formats.contract import Format
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import filled, finite, required, with_cells

SCORE = re.compile(r"(?:score|rating|reward|points|quality)[ _-]?([a-z0-9])", re.IGNORECASE)
FULL_TEXT = "full_text"  # key of WebGPT's questions


class ScoredPairs(Format):
    """The answer with the higher score is chosen, the difference is the margin; equal scores are a tie."""

    name = "scored-pairs"
    title = "two answers with a score each"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A prompt, two answers and two scores whose columns differ in the same number or letter; no verdict."""
        pair = answer_pair(row)
        scores = None if pair is None else _score_columns(row, pair)
        if pair is None or scores is None or not has_question(row) or verdict_columns(row):
            return None
        if not all(filled(row.get(name)) for name in scores) or row.get("rejected") is not None:
            return None
        return f"{pair.first} and {pair.second} have {' and '.join(scores)}"

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Compare the scores."""
        pair = answer_pair(row)
        scores = None if pair is None else _score_columns(row, pair)
        if pair is None or scores is None:
            raise DataError("it has no two answers with scores, such as answer_0, answer_1, score_0, score_1")
        first, second = (finite(required(row, name), name) for name in scores)
        answers = [answer_cell(row, name) for name in pair[:2]]
        yield preference(_question(row), answers[0], answers[1], share_of(first, second), first - second)


def _score_columns(row: Mapping[str, Any], pair: AnswerPair) -> tuple[str, str] | None:
    names = {match[1].lower(): name for name in row if (match := SCORE.fullmatch(str(name)))}
    first, second = (names.get(suffix) for suffix in pair.suffixes)
    return None if first is None or second is None else (first, second)


def _question(row: Mapping[str, Any]) -> Row:
    """Return the prompt; WebGPT's questions are objects with their text and their source."""
    question = row.get("question")
    if isinstance(question, Mapping) and FULL_TEXT in question:
        row = with_cells(row, {**row, "question": question[FULL_TEXT]})
    return question_of(row)
