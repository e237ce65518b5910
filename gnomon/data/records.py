"""Records as JSON lines: what stages hand to each other, and the formats that users bring.

A prompt is a text, or `{"id": …, "messages": [{"role": …, "content": …}]}`; a completion is a text, or
`{"id": …, "text": …}`. Texts without an id get one from their content, so equal prompts share an id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gnomon.core.errors import DataError
from gnomon.core.run_folder import read_jsonl
from gnomon.core.types import Completion, Demonstration, Message, Preference, Prompt, RatedText
from gnomon.data.rendering import check_text

Record = TypeVar("Record")


def read_records(kind: type[Record], path: Path) -> list[Record]:
    """All records of a kind in a JSON-lines file; the first fault is an error that names the line."""
    parse: Callable[[Mapping[str, Any]], Any] = _PARSERS[kind]
    records: list[Record] = []
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            records.append(parse(row))
        except KeyError as error:
            raise DataError(f"{path}, row {number}: no {error} in it; {_EXPECTED[kind]}") from None
        except (TypeError, ValueError, DataError) as error:
            raise DataError(f"{path}, row {number}: {error}; {_EXPECTED[kind]}") from None
    if not records:
        raise DataError(f"{path} holds no rows; {_EXPECTED[kind]}")
    return records


def _prompt(value: Any) -> Prompt:
    if isinstance(value, str):
        return Prompt(_name(value), (Message("user", _text(value)),))
    messages = tuple(Message(m["role"], _text(m["content"])) for m in value["messages"])
    if not messages or any(m.role not in ("system", "user", "assistant", "tool") for m in messages):
        raise ValueError("a message has a role of system, user, assistant or tool")
    return Prompt(str(value.get("id") or _name(repr(messages))), messages)


def _completion(value: Any) -> Completion:
    if isinstance(value, str):
        return Completion(_name(value), _text(value))
    text = _text(value["text"])
    return Completion(str(value.get("id") or _name(text)), text, str(value.get("source", "")))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    check_text(value, "text")
    return value


def _name(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _number(row: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = float(row.get(key, default))
    if not low <= value <= high:
        raise ValueError(f"{key} is {value}, outside {low} to {high}")
    return value


def _demonstration(row: Mapping[str, Any]) -> Demonstration:
    weight = _number(row, "weight", 1.0, 0.0, 1e9)
    return Demonstration(_prompt(row["prompt"]), _completion(row["completion"]), weight)


def _preference(row: Mapping[str, Any]) -> Preference:
    return Preference(
        prompt=_prompt(row["prompt"]),
        chosen=_completion(row["chosen"]),
        rejected=_completion(row["rejected"]),
        probability=_number(row, "probability", 1.0, 0.0, 1.0),
        margin=_number(row, "margin", 0.0, -1e9, 1e9),
        weight=_number(row, "weight", 1.0, 0.0, 1e9),
    )


def _rated_text(row: Mapping[str, Any]) -> RatedText:
    ratings = tuple(float(r) for r in row["ratings"])
    if not ratings:
        raise ValueError("ratings is empty")
    return RatedText(str(row["id"]), _text(row["text"]), ratings)


_PARSERS: dict[Any, Callable[[Mapping[str, Any]], Any]] = {
    Prompt: lambda row: _prompt(row if "messages" in row else row["prompt"]),
    Demonstration: _demonstration,
    Preference: _preference,
    RatedText: _rated_text,
}
_EXPECTED: dict[Any, str] = {
    Prompt: 'a row is {"prompt": "…"} or {"id": "…", "messages": […]}.',
    Demonstration: 'a row is {"prompt": "…", "completion": "…"}.',
    Preference: 'a row is {"prompt": "…", "chosen": "…", "rejected": "…"}.',
    RatedText: 'a row is {"id": "…", "text": "…", "ratings": [1, 2]}.',
}
