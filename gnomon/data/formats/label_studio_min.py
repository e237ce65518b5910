"""Label Studio's JSON-MIN and CSV exports: one annotation a row, with its task's data and a column a control.

{"id": 7, "prompt": "…", "response1": "…", "response2": "…", "preference": "response1", "annotator": 3,
 "annotation_id": 41, "created_at": "…", "updated_at": "…", "lead_time": 8.5}

A control has the choice as text, or a list with its values: `[{"selected": "left"}]`, `[{"rating": 4}]`,
`[{"ranker": {"rank": ["b", "a"]}}]`; a table holds them as JSON. https://labelstud.io/guide/export, and
https://github.com/HumanSignal/label-studio-sdk, src/label_studio_sdk/converter
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking, RatedText
from gnomon.data.formats.common.ballots import Ballot, JudgedPrompt, ScannedPrompt
from gnomon.data.formats.common.question_columns import RATINGS
from gnomon.data.formats.common.verdicts import answer_pair, known_vote
from gnomon.data.formats.comparison import VERDICTS
from gnomon.data.formats.contract import Format, JoinedRow, UnusedRow
from gnomon.data.formats.label_studio import KINDS, UNJUDGED, LabelStudio
from gnomon.data.reading.readers import Row, ScannedRow
from gnomon.data.reading.row_fields import filled, with_cells

ANNOTATION = ("annotator", "annotation_id", "lead_time")  # columns that every export has
BOOKKEEPING = ("id", *ANNOTATION, "created_at", "updated_at", "agreement", "history")
NO_RESULT = "its annotation has no choice between two answers, no ranking and no rating"
TYPES = {"selected": "pairwise", "rating": "rating", "ranker": "ranker", "choices": "choices"}
_Cells = dict[str, Any]


class LabelStudioMin(Format):
    """Rows of one annotation each; those of a task stand together and are counted together."""

    name = "label-studio-min"
    title = "a Label Studio export with one annotation a row"
    kinds = (Preference, Ranking, RatedText)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """The columns that describe an annotation."""
        if all(name in row for name in ANNOTATION):
            return f"it has the columns {', '.join(ANNOTATION)}"
        return None

    def is_certain(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether a row has a choice, a ranking or a rating; its data may have any other layout too."""
        return any(_results(_cells(row)) for row in rows)

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """Return the kind of the first result that makes records."""
        return LabelStudio().kind_of(list(map(_task, rows)))

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Read the one annotation of a row."""
        return self.judged(kind, row).rows(kind)

    def judged(self, kind: type, row: Mapping[str, Any]) -> JudgedPrompt:
        """Return the prompt, the answers and the judgement of a row's annotator."""
        if not _is_annotated(row):
            raise UnusedRow(UNJUDGED)
        task = _task(row)
        if not task["annotations"][0]["result"]:
            raise UnusedRow(NO_RESULT)
        return LabelStudio().judged(kind, task)

    def scan(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[ScannedRow]:
        """Yield the records of each task at the position of its first annotation, as those of the JSON export."""
        for where, task in self._tasks(kind, rows):
            if isinstance(task, DataError):
                yield where, task
                continue
            try:
                converted: list[Row | DataError] = list(task.judged().rows(kind))
            except DataError as error:
                converted = [error]
            yield from ((where, row) for row in converted)
            yield from ((other, JoinedRow()) for other in task.positions[1:])

    def scan_judged(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[ScannedPrompt]:
        """Yield each task with the judgements of its rows; a person's last annotation counts."""
        for where, task in self._tasks(kind, rows):
            yield where, task if isinstance(task, DataError) else task.judged()

    def _tasks(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[tuple[str, _Task | DataError]]:
        """Yield the tasks of a file, each with its rows, which stand together; or the error of a row."""
        task: _Task | None = None
        for where, row in rows:
            try:
                if isinstance(row, DataError):
                    raise row
                judged = self.judged(kind, row)
            except DataError as error:
                yield where, error
                continue
            if task is None or not task.has(judged):
                if task is not None:
                    yield task.positions[0], task
                task = _Task(judged)
            task.positions.append(where)
            time, name = str(row.get("created_at") or ""), str(row.get("annotation_id") or "")
            task.ballots += [(time, ballot.annotator or name, ballot) for ballot in judged.ballots]
        if task is not None:
            yield task.positions[0], task


@dataclass
class _Task:
    """A task with its rows: of each its position, its time, its annotator or id, and its ballot."""

    first: JudgedPrompt
    positions: list[str] = field(default_factory=list)
    ballots: list[tuple[str, str, Ballot]] = field(default_factory=list)

    def has(self, judged: JudgedPrompt) -> bool:
        """Return whether a row is one more annotation of this task."""
        own, other = ((one.id, one.prompt, one.answers) for one in (self.first, judged))
        return bool(self.first.id) and own == other

    def judged(self) -> JudgedPrompt:
        """Return the task with one judgement of each person, the latest: an export has the latest first."""
        in_time = sorted(self.ballots, key=lambda entry: entry[0])
        last = {name or str(number): ballot for number, (_, name, ballot) in enumerate(in_time)}
        return replace(self.first, ballots=list(last.values()))


def _is_annotated(row: Mapping[str, Any]) -> bool:
    return filled(row.get("annotation_id")) or filled(row.get("annotator"))


def _cells(row: Mapping[str, Any]) -> _Cells:
    """Return the cells beside those that describe the annotation; lists and objects of a table are decoded."""
    return {name: _decoded(cell) for name, cell in dict(row).items() if name not in BOOKKEEPING}


def _task(row: Mapping[str, Any]) -> Row:
    """Return a row as the JSON export has it: a task with its data and one annotation."""
    cells = _cells(row)
    results = _results(cells)
    controls = {result["from_name"] for result in results}
    for name in controls:
        _ = name in row  # counts as read, with all that is in it
    plain = dict(row)
    data = {name: cell if _has_ids(cell) else plain[name] for name, cell in cells.items()}
    return {
        "id": row.get("id"),
        "data": with_cells(row, {name: cell for name, cell in data.items() if name not in controls}),
        "annotations": [{"completed_by": row.get("annotator"), "result": results}],
    }


def _results(cells: _Cells) -> list[Row]:
    """Return the results of the controls as the JSON export has them."""
    ids = {str(one["id"]) for cell in cells.values() if _has_ids(cell) for one in cell}
    results = [result for name, cell in cells.items() for result in _valued(name, cell, ids)]
    if not any(KINDS[result["type"]] is Preference for result in results):
        results += _chosen(cells)
    return results


def _valued(name: str, cell: Any, ids: set[str]) -> Iterator[Row]:
    """Yield the results of a control with values; a value is an object of one key, its type."""
    for value in cell if isinstance(cell, list) else [cell]:
        if not isinstance(value, Mapping) or len(value) != 1:
            return
        ((key, content),) = value.items()
        if key in TYPES:
            yield {"from_name": name, "type": TYPES[key], "value": dict(value)}
        elif isinstance(content, list) and content and ids.issuperset(map(str, content)):
            yield {"from_name": name, "type": "ranker", "value": {"ranker": content}}


def _chosen(cells: _Cells) -> list[Row]:
    """Return the results of controls whose choice is a text, or whose rating is a number.

    A choice stands under one of the usual names, else it is a text that is a verdict between the two answers.
    """
    pair = answer_pair(cells)
    if pair is None:
        rated = next((name for name in RATINGS if _is_number(cells.get(name))), None)
        return [] if rated is None else [_result(rated, "rating", cells[rated])]
    texts = {
        name: cell
        for name, cell in cells.items()
        if isinstance(cell, str) and filled(cell) and name not in pair[:2]
    }
    names = [name for name in texts if name in VERDICTS]
    names = names or [name for name in texts if known_vote(texts[name], pair) is not None]
    return [_result(name, "choices", [texts[name]]) for name in names]


def _result(name: str, key: str, content: Any) -> Row:
    return {"from_name": name, "type": TYPES[key], "value": {key: content}}


def _has_ids(cell: Any) -> bool:
    """Return whether a cell is a list of items with an id, which can be ranked."""
    return isinstance(cell, list) and bool(cell) and all(isinstance(one, Mapping) and "id" in one for one in cell)


def _is_number(cell: Any) -> bool:
    if isinstance(cell, str):
        with contextlib.suppress(ValueError):
            cell = float(cell)
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _decoded(cell: Any) -> Any:
    if isinstance(cell, str) and cell[:1] in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(cell)
    return cell
