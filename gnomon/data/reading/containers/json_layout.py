"""How a file of JSON is laid out: a row a line, a list, one object after another, or a list inside an object."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gnomon.core.errors import DataError
from gnomon.data.reading.containers.json_stream import JsonFault, JsonStream
from gnomon.data.reading.content import Content

# An object with one of these keys is a row, whatever lists it holds.
ROW_KEYS = frozenset(
    {
        "prompt", "instruction", "question", "query", "input", "text", "chosen", "rejected", "messages",
        "conversations", "conversation", "turns", "dialog", "dialogue", "history", "completion", "completions",
        "response", "responses", "output", "outputs", "answer", "answers", "candidates", "choices", "annotations",
        "predictions", "instances",
    }
)  # fmt: skip
LONGEST_LINE = 1 << 26  # characters of a line by which rows are recognized as one a line
LONGEST_LIST = 1 << 20  # characters of a line that may be a list in place of a row
TITLES = {
    "lines": "JSON lines",
    "list": "a JSON list",
    "sequence": "JSON objects one after another",
}


@dataclass(frozen=True)
class JsonLayout:
    """The layout of a file of JSON.

    Attributes:
        kind: of the layout; `object` is an object with a list of rows.
        key: of that list.
    """

    kind: Literal["lines", "list", "sequence", "object"]
    key: str = ""

    @property
    def title(self) -> str:
        """Name in messages."""
        return TITLES.get(self.kind, f"a JSON object with the list '{self.key}'")


@dataclass
class _Members:
    """The keys of an object, and which of them have lists of objects.

    Attributes:
        keys: all keys.
        lists: keys of lists of objects that are no turns of a conversation.
        whole: whether the object is valid to its end.
    """

    keys: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    whole: bool = False


def json_layout(content: Content, split: str | None = None) -> JsonLayout:
    """Recognize the layout of a file.

    Args:
        content: of the file.
        split: key of the list of rows that the user named, if any.

    Raises:
        DataError: an object holds several lists of rows and none is named, or not the named one, or columns.
    """
    layout = _layout(JsonStream(content), split)
    if split is not None and layout.kind != "object":
        raise DataError(f"it is {layout.title}, without a list '{split}'; leave '#{split}' away.")
    return layout


def _layout(stream: JsonStream, split: str | None) -> JsonLayout:
    first = stream.peek()
    if first not in ("[", "{"):
        return JsonLayout("lines")
    line = stream.line(LONGEST_LINE if first == "{" else LONGEST_LIST)
    try:
        value, end = stream.decoder.value(line)
        rest = line[end:].strip()
    except (ValueError, RecursionError):
        return _over_lines(stream, line, split) if first == "{" else JsonLayout("list")
    if rest:  # the line holds more than one value
        joined = isinstance(value, dict) and (rest == "," or rest.lstrip(", ").startswith("{"))
        return JsonLayout("sequence" if joined else "lines" if isinstance(value, dict) else "list")
    stream.value()
    if stream.peek():
        return JsonLayout("sequence" if _is_over_lines(stream) else "lines")
    if isinstance(value, list):
        return JsonLayout("list")
    key = _list_key(_members_of(value), split)
    return JsonLayout("lines") if key is None else JsonLayout("object", key)


def _is_over_lines(stream: JsonStream) -> bool:
    """Return whether the next value is an object of several lines."""
    if stream.peek() != "{":
        return False
    line = stream.line(LONGEST_LINE)
    try:
        _, text = stream.value()
        return len(text) > len(line)
    except JsonFault:
        return line.strip() == "{" and stream.skip("{") and stream.peek() == '"'


def _over_lines(stream: JsonStream, line: str, split: str | None) -> JsonLayout:
    """The layout of a file whose first line holds no whole value."""
    members = _read_members(stream)
    if members.whole and stream.peek():
        return JsonLayout("sequence")
    key = _list_key(members, split)
    if key is not None:
        return JsonLayout("object", key)
    indented = line.strip() == "{" and bool(members.keys)
    return JsonLayout("sequence" if members.whole or indented else "lines")


def _read_members(stream: JsonStream) -> _Members:
    """Read an object, or as much of it as is valid."""
    members = _Members()
    stream.skip("{")
    try:
        while not stream.skip("}"):
            if stream.skip(","):
                continue
            key, _ = stream.value()
            if not isinstance(key, str) or not stream.skip(":"):
                return members
            members.keys.append(key)
            if stream.skip("["):
                _read_list(stream, key, members)
            else:
                stream.value()
    except JsonFault:
        return members
    members.whole = True
    return members


def _read_list(stream: JsonStream, key: str, members: _Members) -> None:
    """Read a list; it counts as one of rows from its first object on, although a fault may follow."""
    while not stream.skip("]"):
        if stream.skip(","):
            continue
        value, _ = stream.value()
        if not _is_row(value):
            members.lists = [one for one in members.lists if one != key]
            _finish_list(stream)
            return
        if key not in members.lists:
            members.lists.append(key)


def _finish_list(stream: JsonStream) -> None:
    while not stream.skip("]"):
        if not stream.skip(","):
            stream.value()


def _members_of(value: Mapping[str, Any]) -> _Members:
    _refuse_columns(value)
    lists = [key for key, one in value.items() if isinstance(one, list) and one and all(map(_is_row, one))]
    return _Members(list(value), lists, whole=True)


def _is_row(value: Any) -> bool:
    """Return whether a value is an object, and no turn of a conversation."""
    return isinstance(value, dict) and "role" not in value and not {"from", "value"} <= value.keys()


def _list_key(members: _Members, split: str | None) -> str | None:
    """Return the key of an object's list of rows; `None` if the object is itself a row."""
    if ROW_KEYS & set(members.keys) or not members.lists:
        return None
    names = ", ".join(members.lists)
    if split is not None:
        if split not in members.lists:
            raise DataError(f"it has no list '{split}'; it has {names}.")
        return split
    if len(members.lists) > 1:
        raise DataError(f"it holds the lists {names}; name one, as in FILE#{members.lists[0]}.")
    return members.lists[0]


def _refuse_columns(value: Mapping[str, Any]) -> None:
    """Refuse an object of columns, as pandas writes it by default."""
    cells = [_cells(one) for one in value.values()]
    if len(cells) > 1 and all(one is not None and len(one) == len(cells[0] or ()) > 1 for one in cells):
        raise DataError(
            "it holds columns, not rows; write it with pandas' to_json(orient='records', lines=True)."
        )


def _cells(column: Any) -> Collection[Any] | None:
    if isinstance(column, list):
        return None if any(isinstance(one, dict) for one in column) else column
    return column if isinstance(column, dict) and all(key.isdigit() for key in column) else None
