"""Two answers with a verdict, whatever the columns are called: `output_1`, `output_2`, `preference`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.formats.common.ballots import JudgedPrompt, JudgedRows, pair_ballot, task_id
from gnomon.data.formats.common.question_columns import RATERS, answer_cell, has_question, question_of
from gnomon.data.formats.common.verdicts import answer_pair, vote_for_first
from gnomon.data.formats.contract import Format
from gnomon.data.reading.readers import Row, ScannedRow
from gnomon.data.reading.row_fields import filled

VERDICTS = (
    "preference", "preferred", "human_preference", "label", "labels", "winner", "verdict", "choice", "selected",
    "judgement", "judgment", "better", "vote", "votes", "preferred_response", "preferred_answer",
    "preferred_output", "better_response", "better_answer",
)  # fmt: skip
ANNOTATOR = re.compile(r"(?:annotator|rater|judge|labeler|worker|voter|human|vote)[ _-]?\d+", re.IGNORECASE)


class AmbiguousCode(DataError):
    """A verdict that shows that the numbers of the whole file mean something else than beside it."""


class AnswerComparison(JudgedRows, Format):
    """Two answers with one column with the verdict, or with one column for each annotator."""

    name = "comparison"
    title = "comparisons of two answers"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A prompt, two answers whose columns differ in a number or letter, and a verdict."""
        pair = answer_pair(row)
        verdicts = verdict_columns(row)
        if pair is None or not verdicts or not has_question(row) or row.get("rejected") is not None:
            return None
        return f"{pair.first} and {pair.second} have the verdict in {' and '.join(verdicts)}"

    def scan(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[ScannedRow]:
        """Yield preferences; a verdict of 0 beside answers 1 and 2 refuses the whole file.

        Where 0 is a code, 1 is the second answer, so the rows before it would be read the wrong way round.

        Raises:
            AmbiguousCode: there is such a verdict.
        """
        for where, row in super().scan(kind, rows):
            if isinstance(row, AmbiguousCode):
                raise AmbiguousCode(f"{where}: {row}")
            yield where, row

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Count the votes; ties count half."""
        return self.judged(kind, row).rows(kind)

    def judged(self, kind: type, row: Mapping[str, Any]) -> JudgedPrompt:
        """Return the votes: the annotators are called as their columns, or as a column of annotators has it."""
        pair = answer_pair(row)
        if pair is None:
            raise DataError("it has no two columns with answers, such as response_a and response_b")
        columns = verdict_columns(row)
        annotators = [name for name in columns if name not in VERDICTS]
        if len(columns) > 1 and len(annotators) < len(columns):
            raise DataError(f"it has several verdicts, {' and '.join(columns)}; map the right one with --columns")
        if not annotators and pair.suffixes == ("1", "2") and any(_is_zero(row.get(name)) for name in columns):
            by = f"by: {columns[0]}"
            raise AmbiguousCode(
                f"{columns[0]} is 0 beside {pair.first} and {pair.second}, so it counts from 0, or 0 is a tie; "
                f"map it, as in --columns 'chosen={{{by}, 0: {pair.first}, 1: {pair.second}}}' "
                f"--columns 'rejected={{{by}, 0: {pair.second}, 1: {pair.first}}}'"
            )
        alone = next((str(row[name]) for name in RATERS if filled(row.get(name))), "")
        names = pair.first, pair.second
        ballots = [
            pair_ballot(
                name if annotators else alone,
                names,
                vote_for_first(value, pair, name, zero_is_tie=bool(annotators), models=row),
            )
            for name in columns
            for value in _verdicts(row, name)
            if filled(value)
        ]
        answers = {name: answer_cell(row, name) for name in names}
        return JudgedPrompt(task_id(row), question_of(row), answers, ballots)


def _verdicts(row: Mapping[str, Any], name: str) -> list[Any]:
    """Return the verdicts in a column: a list of several is one of votes, under that name alone."""
    value = row.get(name)
    return value if isinstance(value, list) and name == "votes" else [value]


def _is_zero(value: Any) -> bool:
    return not isinstance(value, bool) and str(value).strip() in ("0", "0.0")


def verdict_columns(row: Mapping[str, Any]) -> list[str]:
    """Return the columns with verdicts, empty ones too: a row without a vote has the layout nevertheless."""
    return [name for name in row if name in VERDICTS or ANNOTATOR.fullmatch(str(name))]
