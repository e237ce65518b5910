"""A mapping of columns: which column, or part of one, of any file is the prompt, the completion and so on.

prompt: conversations[0].value                        a path: keys, indexes, dots
chosen: {by: label, A: response_A, B: response_B}     the path depends on the value of another
label: {of: verdict, good: true, bad: false}          a value is replaced
system: {constant: Answer briefly.}                   the same in every row
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gnomon.core.config import read_yaml
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.yaml_text import YAML_VALUE_ERRORS, load_yaml
from gnomon.data.formats.common.misspellings import hint
from gnomon.data.formats.contract import Format, UnusedRow
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief

TARGETS = (
    "id", "prompt", "system", "messages", "completion", "chosen", "rejected", "completions", "label", "text",
    "ratings", "rating", "rater", "raters", "weight", "margin", "probability", "tie", "answer",
)  # fmt: skip
SYNONYMS = {  # names that other layouts have for a key
    "question": "prompt", "query": "prompt", "instruction": "prompt", "input": "prompt", "context": "prompt",
    "response": "completion", "output": "completion", "reply": "completion", "generation": "completion",
    "responses": "completions", "answers": "completions", "conversation": "messages", "conversations": "messages",
    "score": "rating", "scores": "ratings", "annotator": "rater", "annotators": "raters", "good": "label",
    "preferred": "chosen", "dispreferred": "rejected",
}  # fmt: skip
OPTIONAL_TARGETS = {"id", "system", "weight", "margin", "probability", "tie", "answer", "raters", "rater"}
PIECE = re.compile(r"""(?:^|\.)(?P<key>[^.\[\]"]+)|\[(?P<index>-?\d+)\]|(?:^|\.)"(?P<quoted>[^"]+)\"""")
Path_ = tuple[str | int, ...]


class Columns(Format):
    """Rows that the user's own mapping describes.

    Args:
        mapping: key of Gnomon's own layout → where its value is in a row.

    Raises:
        ConfigError: the mapping has an unknown key or is not readable.
    """

    name = "columns"
    title = "rows of your mapping"
    kinds = ()  # whichever the mapped keys make

    def __init__(self, mapping: Mapping[str, Any]):
        if not isinstance(mapping, Mapping) or not mapping:
            raise ConfigError("columns is empty; map a key to a column, as in prompt: question.")
        for key in mapping:
            if key not in TARGETS:
                raise ConfigError(f"columns: '{key}' is no key of a record; {hint(str(key), TARGETS, SYNONYMS)}")
        self.values = {key: _value(spec, f"columns.{key}") for key, spec in mapping.items()}

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Look up the value of each key."""
        own: Row = {}
        for key, value in self.values.items():
            content = value.of(row)
            if content is not None:
                own[key] = content
            elif key not in OPTIONAL_TARGETS:
                raise DataError(f"{key} is nothing: {value.describe()} is missing or null")
        yield own


class _AtPath:
    """The value at a path."""

    def __init__(self, path: Path_, text: str):
        self.path, self.text = path, text

    def of(self, row: Mapping[str, Any]) -> Any:
        value: Any = row
        for piece in self.path:
            if isinstance(value, str):  # a cell of a table may hold JSON
                value = _decoded(value)
            if isinstance(piece, int):
                value = value[piece] if isinstance(value, list) and -len(value) <= piece < len(value) else None
            else:
                value = value.get(piece) if isinstance(value, Mapping) else None
            if value is None:
                return None
        return value

    def describe(self) -> str:
        return f"'{self.text}'"


class _Constant:
    """The same value in every row."""

    def __init__(self, value: Any):
        self.value = value

    def of(self, row: Mapping[str, Any]) -> Any:
        return self.value

    def describe(self) -> str:
        return f"the constant {brief(self.value)}"


class _Replaced:
    """A value that is replaced by another, by a table."""

    def __init__(self, source: _AtPath, table: Mapping[str, Any]):
        self.source, self.table = source, table

    def of(self, row: Mapping[str, Any]) -> Any:
        value = self.source.of(row)
        key = _key(value)
        if value is not None and key not in self.table:
            raise DataError(f"{self.source.text} is {brief(value)}, which columns does not map")
        return None if value is None else self.table[key]

    def describe(self) -> str:
        return self.source.describe()


class _Chosen:
    """A value whose path depends on another value; rows with a value that maps to null are not used."""

    def __init__(self, source: _AtPath, table: Mapping[str, _AtPath | None]):
        self.source, self.table = source, table

    def of(self, row: Mapping[str, Any]) -> Any:
        value = self.source.of(row)
        key = _key(value)
        if key not in self.table:
            raise DataError(f"{self.source.text} is {brief(value)}, which columns does not map")
        path = self.table[key]
        if path is None:
            raise UnusedRow(f"{self.source.text} is {brief(value)}")
        return path.of(row)

    def describe(self) -> str:
        return f"the column that '{self.source.text}' chooses"


_Value = _AtPath | _Constant | _Replaced | _Chosen


def _decoded(cell: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None


def path_of(text: str, where: str) -> Path_:
    """Parse a path such as `conversations[0].value`; a key with a dot or bracket stands in double quotes.

    Raises:
        ConfigError: it is no path.
    """
    pieces: list[str | int] = []
    end = 0
    while end < len(text):
        match = PIECE.match(text, end)
        if match is None or match.end() == end:
            raise ConfigError(f"{where}: '{text}' is no path; write one as in messages[0].content or \"a.b\".c.")
        index, end = match["index"], match.end()
        pieces.append(int(index) if index is not None else match["key"] or match["quoted"])
    if not pieces:
        raise ConfigError(f"{where} is empty; name a column.")
    return tuple(pieces)


def _value(spec: Any, where: str) -> _Value:
    if isinstance(spec, str):
        return _AtPath(path_of(spec, where), spec)
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{where} is {brief(spec)}, neither a column nor a mapping with by, of or constant.")
    table = {_key(key): value for key, value in spec.items() if key not in ("by", "of")}
    if set(spec) == {"constant"}:
        return _Constant(spec["constant"])
    if "by" in spec and "of" not in spec and table:
        paths = {key: None if path is None else _path_value(path, where) for key, path in table.items()}
        return _Chosen(_path_value(spec["by"], where), paths)
    if "of" in spec and "by" not in spec and table:
        return _Replaced(_path_value(spec["of"], where), table)
    raise ConfigError(
        f"{where}: a mapping has constant alone, or by or of with the values of that column, as in "
        "{by: label, A: response_A, B: response_B}."
    )


def _path_value(text: Any, where: str) -> _AtPath:
    if not isinstance(text, str):
        raise ConfigError(f"{where}: {brief(text)} is no column; write its name.")
    return _AtPath(path_of(text, where), text)


def _key(value: Any) -> str:
    """The key that a value has in a table: YAML reads yes, 1 and 1.0 as other types than a CSV file does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def parse_columns(options: Sequence[str]) -> dict[str, Any]:
    """Parse `--columns`: each `KEY=PATH` or `KEY={by: …}`, or one path of a YAML file with the mapping.

    Raises:
        ConfigError: an option has neither form.
    """
    if len(options) == 1 and "=" not in options[0] and (Path(options[0]).exists() or "." in options[0]):
        return read_yaml(Path(options[0]), "mapping of columns", "columns are a mapping such as prompt: question")
    mapping: dict[str, Any] = {}
    for option in options:
        key, mark, value = option.partition("=")
        if not mark:
            raise ConfigError(f"--columns '{option}' is no KEY=COLUMN, as in prompt=question.")
        if key.strip() in mapping:
            raise ConfigError(f"--columns names {key.strip()} twice; remove one of them.")
        try:
            mapping[key.strip()] = load_yaml(value) if value.lstrip().startswith("{") else value.strip()
        except (yaml.YAMLError, *YAML_VALUE_ERRORS):
            raise ConfigError(f"--columns '{option}': what follows the = is not YAML; fix it.") from None
    return mapping
