"""The two ways in which messages refer to the media of a column: parts without a value, and marks in texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gnomon.core.types import MediaKind
from gnomon.data.reading.media.parts import Part, kind_of_part, value_key
from gnomon.data.reading.media.values import NOUNS
from gnomon.data.reading.row_fields import with_cells

MARKS: dict[MediaKind, str] = {kind: f"<{kind}>" for kind in NOUNS}
SYSTEM = ("system", "developer")


@dataclass(frozen=True)
class Reference:
    """A way in which messages refer to the values of a column.

    Attributes:
        references: counts the references in a content.
        fill: puts the next values in the stead of those in a content.
        roles_without: authors whose messages never refer to a value.
    """

    references: Callable[[Any, MediaKind], int]
    fill: Callable[[Any, MediaKind, Iterator[Part]], Any]
    roles_without: tuple[str, ...] = ()

    def count(self, role: str, content: Any, kind: MediaKind) -> int:
        """Count the references in a message.

        Args:
            role: of its author.
            content: a text or a list of parts.
            kind: of the values.
        """
        return 0 if role in self.roles_without else self.references(content, kind)


def as_parts(content: Any) -> list[Any]:
    """Return a content as a list of parts."""
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _unfilled(content: Any, kind: MediaKind) -> int:
    return sum(_is_unfilled(part, kind) for part in content) if isinstance(content, list) else 0


def _is_unfilled(part: Any, kind: MediaKind) -> bool:
    return kind_of_part(part) == kind and value_key(part, kind) is None


def _fill_parts(content: Any, kind: MediaKind, values: Iterator[Part]) -> Any:
    return [with_cells(part, {**part, **next(values)}) if _is_unfilled(part, kind) else part for part in content]


def _marked(content: Any, kind: MediaKind) -> int:
    return sum(text.count(MARKS[kind]) for text in map(_text_of, as_parts(content)) if text is not None)


def _text_of(part: Any) -> str | None:
    is_text = isinstance(part, Mapping) and part.get("type", "text") == "text"
    return part["text"] if is_text and isinstance(part.get("text"), str) else None


def _fill_marks(content: Any, kind: MediaKind, values: Iterator[Part]) -> Any:
    parts: list[Any] = []
    for part in as_parts(content):
        text = _text_of(part)
        if text is None:
            parts.append(part)
            continue
        first, *others = text.split(MARKS[kind])
        parts.append({"type": "text", "text": first})
        for other in others:
            parts += [next(values), {"type": "text", "text": other}]
    return parts


BY_PARTS = Reference(_unfilled, _fill_parts)
BY_MARKS = Reference(
    _marked, _fill_marks, SYSTEM
)  # LLaMA-Factory has the system's message in a column of its own
