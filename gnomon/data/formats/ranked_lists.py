"""Lists of answers with a rank or a score each, beside them or in them, as in Nectar and RRHF.

Zhu et al. 2024 (Starling-7B), https://openreview.net/forum?id=GqDntYTTbk; Yuan et al. 2023, arXiv 2304.05302.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking
from gnomon.data.formats.common.judged_answers import ScoredAnswer, preferences, ranking
from gnomon.data.formats.common.question_columns import has_question, question_of
from gnomon.data.formats.contract import Format
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import finite, listed, mapping, required

LISTS = ("responses", "answers", "completions", "outputs", "candidates", "generations")
RANKS = ("rank", "ranks", "ranking", "rankings")  # 1 is best
SCORES = ("score", "scores", "rewards", "ratings")  # more is better
TEXTS = ("answer", "text", "response", "content", "completion", "output")


class RankedLists(Format):
    """A prompt with a list of answers, and a rank or score for each."""

    name = "ranked-list"
    title = "lists of ranked answers"
    kinds = (Ranking, Preference)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A list of answers with a list of as many ranks or scores, or of objects that hold a rank."""
        name = _list_column(row)
        if name is None or not has_question(row):
            return None
        answers = _cells(row, name)
        if all(isinstance(one, Mapping) and "rank" in one and _text_key(one) for one in answers):
            return f"{name} hold a rank"
        column = _number_column(row, len(answers))
        texts = all(isinstance(one, str) for one in answers)
        return f"{name} have {column}" if column is not None and texts else None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Order the answers; equal ranks or scores are ties."""
        name = _list_column(row)
        if name is None:
            raise DataError(f"it has no list of at least two answers under {', '.join(LISTS)}")
        cells = listed(row[name], name)
        column = None if all(isinstance(one, Mapping) for one in cells) else _number_column(row, len(cells))
        if column is not None:
            sign = -1.0 if column in RANKS else 1.0
            numbers = [finite(one, column) for one in listed(row[column], column)]
            if column in RANKS:
                _check_ranks(numbers)
            numbers = [sign * one for one in numbers]
            answers = [ScoredAnswer(cell, number) for cell, number in zip(cells, numbers, strict=True)]
        elif all(isinstance(one, Mapping) for one in cells):
            answers = [_ranked(mapping(one)) for one in cells]
            _check_ranks([-one.score for one in answers])
        else:
            raise DataError(f"it has no list with a rank or score for each of the {len(cells)} {name}")
        if kind is Preference:
            return preferences(question_of(row), answers, margins=column in SCORES)
        return [ranking(question_of(row), answers)]


def _check_ranks(ranks: Sequence[float]) -> None:
    """Refuse ranks with a gap, whose missing answer may be the row's fault; means of several ranks have none.

    After two answers with rank 1 the next has rank 2, or 3 as in sports.
    """
    if not all(rank.is_integer() for rank in ranks):
        return
    ordered = sorted(ranks)
    start = min(ordered[0], 1.0)
    for index, rank in enumerate(ordered):
        dense = start + len(set(ordered[:index]) - {rank})
        if rank not in (dense, start + ordered.index(rank)):
            shown = ", ".join(f"{one:g}" for one in ordered)
            raise DataError(f"ranks are {shown}: no answer has rank {dense:g}; give the whole ranking")


def _list_column(row: Mapping[str, Any]) -> str | None:
    return next((name for name in LISTS if len(_cells(row, name)) > 1), None)


def _cells(row: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list, which a table holds as JSON text; empty if it is none."""
    try:
        return listed(row.get(name), name)
    except DataError:
        return []


def _number_column(row: Mapping[str, Any], count: int) -> str | None:
    """Return the column with a number for each answer."""
    return next((name for name in (*RANKS, *SCORES) if len(_cells(row, name)) == count), None)


def _text_key(answer: Mapping[str, Any]) -> str | None:
    return next((key for key in TEXTS if answer.get(key) is not None), None)


def _ranked(answer: Mapping[str, Any]) -> ScoredAnswer:
    completion = required(answer, _text_key(answer) or TEXTS[0])
    return ScoredAnswer(completion, -finite(required(answer, "rank"), "rank"))
