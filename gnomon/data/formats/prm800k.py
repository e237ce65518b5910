"""PRM800K: solutions whose steps have rated alternatives (Lightman et al. 2023, arXiv 2305.20050).

A record's completion is the solution up to a step, so that it is the problem and the earlier steps that an
alternative follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Label, Preference
from gnomon.data.formats.common.judged_answers import preference, share_of
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.formats.stepwise import SEPARATOR
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, listed, mapping, required, text

RATINGS = (-1, 0, 1)  # wrong, neutral, right


class PRM800K(Format):
    """Alternatives for each step, rated −1, 0 or 1, and the one that the solution went on with."""

    name = "prm800k"
    title = "PRM800K solutions"
    kinds = (Preference, Label)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A problem under `question` and rated steps under `label`."""
        question, label = row.get("question"), row.get("label")
        if not isinstance(question, Mapping) or not isinstance(label, Mapping):
            return None
        return "label holds the steps of a problem" if "problem" in question and "steps" in label else None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Return preferences if half of the rows have alternatives with different ratings, else labels."""
        compared = 0
        for row in rows:
            try:
                compared += bool(_compared(_Solution(row)))
            except DataError:
                continue
        return Preference if 2 * compared >= len(rows) else Label

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Prefer the better rated of two alternatives, or label each: 1 is good, −1 is bad, 0 is neither."""
        solution = _Solution(row)
        if kind is Preference:
            rows = _compared(solution)
            if not rows:
                raise UnusedRow("no step has alternatives with different ratings")
            return rows
        rows = [
            {**solution.prompt, "completion": completion, "label": rating > 0}
            for alternatives in solution.steps
            for completion, rating in alternatives
            if rating
        ]
        if not rows:
            raise UnusedRow("no step is rated right or wrong")
        return rows


class _Solution:
    """The prompt of a row, and for each step the rated alternatives, as solutions up to that step."""

    def __init__(self, row: Mapping[str, Any]):
        problem = required(mapping(required(row, "question")), "problem")
        self.prompt = {"prompt": text(problem, "problem")}
        self.steps = list(_alternatives(listed(required(mapping(required(row, "label")), "steps"), "steps")))


def _alternatives(steps: list[Any]) -> Iterator[list[tuple[str, int]]]:
    """Yield the rated alternatives of each step after the steps that were chosen."""
    earlier: list[str] = []
    for number, cell in enumerate(steps, start=1):
        step = mapping(cell)
        cells = step.get("completions")
        completions = [mapping(one) for one in listed([] if cells is None else cells, "completions")]
        yield [
            (SEPARATOR.join([*earlier, text(required(one, "text"))]), _rating(one["rating"]))
            for one in completions
            if one.get("rating") is not None
        ]
        if number < len(steps):
            earlier.append(_chosen(step, completions, number))


def _chosen(step: Mapping[str, Any], completions: list[Mapping[str, Any]], number: int) -> str:
    """Return the text that the next step follows."""
    index = step.get("chosen_completion")
    if index is not None:
        if not isinstance(index, int) or not 0 <= index < len(completions):
            raise DataError(
                f"step {number}: chosen_completion is {brief(index)}, which is none of its completions"
            )
        return text(required(completions[index], "text"))
    human = step.get("human_completion")
    if human is None:
        raise DataError(f"step {number} has no chosen completion, but another step follows")
    return text(human if isinstance(human, str) else required(mapping(human), "text"))


def _rating(value: Any) -> int:
    if isinstance(value, bool) or value not in RATINGS:
        raise DataError(f"a rating is {brief(value)}, which is none of -1, 0 and 1")
    return int(value)


def _compared(solution: _Solution) -> list[Row]:
    return [
        preference(solution.prompt, first, second, share_of(a, b), float(a - b))
        for alternatives in solution.steps
        for (first, a), (second, b) in itertools.combinations(alternatives, 2)
        if a != b and first != second
    ]
