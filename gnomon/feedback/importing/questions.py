"""Reads questions that qualify annotators from files: items with a known answer and an explanation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import DataError
from gnomon.data.reading.readers import scan_rows
from gnomon.data.reading.row_fields import KeysRead, TrackedRow, text
from gnomon.feedback.importing.items import different, group_of
from gnomon.feedback.task_types import SCALES

if TYPE_CHECKING:
    from gnomon.feedback.tasks.qualification import NewQuestion

ADVICE = "give rows with a prompt, completions best first or chosen and rejected, and an explanation"


def read_questions(path: Path, task: str, keys: KeysRead | None = None) -> Iterator[NewQuestion]:
    """Yield the questions of a file.

    The correct answer is the column `answer`, in the row's order of completions. Without it the completions of
    pairs and rankings are best first.

    Args:
        path: file of rows with a prompt, completions, `explanation`, and `answer` where the task is to score.
        task: task of the project.
        keys: records the keys that the rows have and those that were read.

    Raises:
        DataError: a row is invalid, or there are no rows.
    """
    from gnomon.feedback.tasks.qualification import NewQuestion

    empty, keys = True, KeysRead() if keys is None else keys
    for where, row in scan_rows(path):
        empty = False
        try:
            if isinstance(row, DataError):
                raise row
            tracked = TrackedRow(row, keys)
            group = group_of(tracked, task in SCALES)
            if len(different(group)) < len(group.completions):
                raise DataError("two completions are equal")
            if task == "pair" and len(group.completions) != 2:
                raise DataError(f"a pair has two completions, not {len(group.completions)}")
            # The answer is one value, whose own keys are no columns.
            value = row["answer"] if "answer" in tracked else None
            answer = _answer(value, task, len(group.completions))
            explanation = text(str(tracked.get("explanation") or ""))
            yield NewQuestion(group.prompt, group.completions, answer, explanation)
        except DataError as error:
            problem = str(error).rstrip(".").removeprefix(f"{path}, {where}: ")
            raise DataError(f"{path}, {where}: {problem}; {ADVICE}.") from None
    if empty:
        raise DataError(f"{path} holds no rows; {ADVICE}.")


def _answer(value: Any, task: str, count: int) -> dict[str, Any]:
    """Return a row's answer; without one, that of completions which are best first."""
    if isinstance(value, dict):
        return dict(value)
    if value is not None:
        raise DataError('the answer is not an object, as in {"choice": "first"}')
    if task == "pair":
        return {"choice": "first"}
    if task == "ranking":
        return {"order": list(range(count))}
    raise DataError('scores have no order; add the column answer, as in {"scores": [{"overall": 4}]}')
