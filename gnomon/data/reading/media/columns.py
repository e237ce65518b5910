"""Columns of images, sounds and videos beside a conversation: each value goes to the message that refers to it.

{"images": ["a.png"], "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", …}]}]}  # TRL
{"images": ["a.png"], "messages": [{"role": "user", "content": "<image>What is this?"}, …]}  # LLaMA-Factory
{"image": "a.png", "question": "What is this?", "answer": "A cat."}  # a table

Parts of a content without a value take those of the column in their order. Where there are none, the marks
`<image>`, `<audio>` and `<video>` in texts do; without marks too, the media stand before the first user's text,
as in TRL. A mark in a row without the column is plain text.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import MediaKind
from gnomon.data.reading.counting import counted
from gnomon.data.reading.media.parts import Part
from gnomon.data.reading.media.references import BY_MARKS, BY_PARTS, MARKS, SYSTEM, Reference, as_parts
from gnomon.data.reading.media.values import NOUNS, media_source
from gnomon.data.reading.row_fields import brief, filled, with_cells

COLUMNS: dict[MediaKind, tuple[str, ...]] = {
    "image": ("image", "images"), "audio": ("audio", "audios"), "video": ("video", "videos"),
}  # fmt: skip
MEDIA_COLUMNS = tuple(itertools.chain.from_iterable(COLUMNS.values()))
SIDES = ("completion", "chosen", "rejected")
Change = Callable[[str, Any], Any]  # role and content of a message → its new content


def media_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filled columns of a row that hold media; they then count as read."""
    if row.keys().isdisjoint(MEDIA_COLUMNS):
        return {}
    cells = {name: row.get(name) for name in MEDIA_COLUMNS if name in row}
    return {name: value for name, value in cells.items() if filled(value) and value not in ("[]", "null")}


def with_media(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row in Gnomon's own layout with the media of its columns inside its messages.

    Raises:
        DataError: a value is no media, or the columns hold more or fewer than the messages refer to.
    """
    cells = media_cells(row)
    if not cells:
        return row
    rest = {key: value for key, value in dict(row).items() if key not in MEDIA_COLUMNS}
    for kind in reversed(COLUMNS):  # of media without marks, images come to stand first
        names = [name for name in COLUMNS[kind] if name in cells]
        if len(names) > 1:
            raise DataError(f"the row has {' and '.join(names)}; keep one of them")
        if names:
            column = _Column(kind, names[0], _parts(cells[names[0]], kind, names[0]))
            rest = _BesideMessages(rest, column).row()
    return with_cells(row, rest)


@dataclass(frozen=True)
class _Column:
    """A column of a row.

    Attributes:
        parts: a part of a content for each value.
    """

    kind: MediaKind
    name: str
    parts: list[Part]


def _parts(cell: Any, kind: MediaKind, name: str) -> list[Part]:
    """Return the values of a column, which may be one alone or JSON text, as parts of a content."""
    if isinstance(cell, str) and cell[:1] in ("[", "{"):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise DataError(f"{name} has {brief(cell)} in it, which is not JSON") from None
    parts = []
    for value in cell if isinstance(cell, list) else [cell]:
        source, options = media_source(value, kind, name)
        parts.append({"type": kind, kind: source, **options})
    return parts


class _BesideMessages:
    """A row without its column, to whose messages the values of the column are added.

    Args:
        cells: the cells of the row.
        column: the column.
    """

    def __init__(self, cells: Mapping[str, Any], column: _Column):
        self.cells, self.column = cells, column
        self.sides = [key for key in SIDES if cells.get(key) is not None]
        self.alternatives = cells["completions"] if isinstance(cells.get("completions"), list) else []
        answered = bool(self.sides or self.alternatives)
        # A question beside the messages that hold it is filled like them.
        self.starts = [
            key
            for key in ("prompt", "messages")
            if cells.get(key) is not None and not (answered and key[0] == "m")
        ]

    def row(self) -> dict[str, Any]:
        """The cells with the values inside.

        Raises:
            DataError: the messages refer to more or fewer.
        """
        answers = [*(self.cells[side] for side in self.sides), *self.alternatives]
        every = [*((self.cells[key], "user") for key in self.starts), *((one, "assistant") for one in answers)]
        way = next((one for one in (BY_PARTS, BY_MARKS) if any(self._count(one, *cell) for cell in every)), None)
        if way is None:
            starts, after = (
                [self._first(self.cells[key]) for key in self.starts],
                list(map(self._repeated, answers)),
            )
            if not starts and after == answers:
                raise DataError(f"the row has {self.column.name}, but no message of a user to put it into")
        else:
            before = [self._count(way, self.cells[key], "user") for key in self.starts]
            starts = [
                self._filled(way, self.cells[key], "user", 0, count, complete=not answers)
                if count or len(self.starts) == 1
                else self._first(self.cells[key])
                for key, count in zip(self.starts, before, strict=True)
            ]
            after = [self._answer(way, one, before[0] if before else 0) for one in answers]
        changed = dict(zip((*self.starts, *self.sides), (*starts, *after), strict=False))
        if self.alternatives:
            changed["completions"] = after[len(self.sides) :]
        return {**self.cells, **changed}

    def _count(self, way: Reference, cell: Any, role: str) -> int:
        """Count the references in a cell."""
        counts: list[int] = []

        def count(author: str, content: Any) -> Any:
            counts.append(way.count(author, content, self.column.kind))
            return content

        _mapped(cell, role, count)
        return sum(counts)

    def _filled(self, way: Reference, cell: Any, role: str, start: int, count: int, *, complete: bool) -> Any:
        """Fill a cell with the values from one on.

        Raises:
            DataError: there are too few of them, or some are left at the end.
        """
        parts = self.column.parts
        if start + count > len(parts) or (complete and start + count < len(parts)):
            raise DataError(
                f"{self.column.name} has {counted(len(parts), NOUNS[self.column.kind])}, where the messages of "
                f"the row refer to {start + count}; write one {MARKS[self.column.kind]} for each"
            )
        values = iter(parts[start : start + count])

        def fill(author: str, content: Any) -> Any:
            return (
                way.fill(content, self.column.kind, values)
                if way.count(author, content, self.column.kind)
                else content
            )

        return _mapped(cell, role, fill)

    def _answer(self, way: Reference, cell: Any, before: int) -> Any:
        """Fill an answer, which follows the prompt or repeats it."""
        count = self._count(way, cell, "assistant")
        again = _starts_with_user(cell) and count == len(self.column.parts)
        return self._filled(way, cell, "assistant", 0 if again else before, count, complete=True)

    def _first(self, cell: Any) -> Any:
        """Put all values before the first text of a user.

        Raises:
            DataError: there is no message of a user.
        """
        if not isinstance(cell, str | list | Mapping):  # no prompt, which its parser refuses
            return cell
        waiting = [list(self.column.parts)]

        def put(author: str, content: Any) -> Any:
            if author != "user" or not waiting:
                return content
            return [*waiting.pop(), *as_parts(content)]

        filled_cell = _mapped(cell, "user", put)
        if waiting:
            raise DataError(f"the row has {self.column.name}, but no message of a user to put it into")
        return filled_cell

    def _repeated(self, cell: Any) -> Any:
        """Put all values into an answer that repeats the prompt; others stay as they are."""
        return self._first(cell) if _starts_with_user(cell) else cell


def _mapped(cell: Any, role: str, change: Change) -> Any:
    """Return a cell with the content of each of its messages changed; a text of which content is kept stays one.

    Args:
        cell: a text, messages, a message, or an object with messages.
        role: author of a text.
        change: returns the new content.
    """
    if isinstance(cell, str):
        content = change(role, cell)
        return cell if content is cell else [{"role": role, "content": content}]
    if isinstance(cell, list):
        return [_changed(turn, change) if isinstance(turn, Mapping) else turn for turn in cell]
    if not isinstance(cell, Mapping):
        return cell
    inner = next((key for key in ("messages", "turns") if isinstance(cell.get(key), list)), None)
    if inner is not None:
        return with_cells(cell, {**cell, inner: _mapped(cell[inner], role, change)})
    if cell.get("role") is not None:
        return _changed(cell, change)
    if not isinstance(cell.get("text"), str):
        return cell
    turns = _mapped(cell["text"], role, change)
    return cell if turns is cell["text"] else with_cells(cell, {**cell, "turns": turns})


def _changed(turn: Mapping[str, Any], change: Change) -> Mapping[str, Any]:
    content = turn.get("content")
    new = change(str(turn.get("role")), content)
    return turn if new is content else with_cells(turn, {**turn, "content": new})


def _starts_with_user(cell: Any) -> bool:
    """Return whether an answer is a whole conversation."""
    turns = cell if isinstance(cell, list) else []
    roles = (turn.get("role") for turn in turns if isinstance(turn, Mapping))
    return next((role for role in roles if role not in SYSTEM), None) == "user"
