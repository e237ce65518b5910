"""Records as JSON lines: what stages hand to each other, and the formats that users bring.

A prompt is a text, or `{"id": …, "messages": [{"role": …, "content": …}]}`; a completion is a text, or
`{"id": …, "text": …}`. Texts without an id get one from their content, so equal prompts share an id.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gnomon.core.errors import DataError
from gnomon.core.run_folder import read_jsonl
from gnomon.core.types import Completion, Demonstration, Message, Preference, Prompt, RatedText
from gnomon.data.rendering import check_text

Record = TypeVar("Record")


def read_records(kind: type[Record], path: Path) -> list[Record]:
    """All records of a kind in a JSON-lines file; the first fault is an error that names the row.

    An id stands for one prompt: groups are formed by it, so two different prompts under one id are refused.
    """
    parse: Callable[[Mapping[str, Any]], Any] = _PARSERS[kind]
    records: list[Record] = []
    prompts: dict[str, Prompt] = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            record = parse(row)
            prompt = record if isinstance(record, Prompt) else getattr(record, "prompt", None)
            if prompt is not None and prompts.setdefault(prompt.id, prompt) != prompt:
                raise DataError(f"prompt id '{prompt.id}' stood for another prompt above")
            records.append(record)
        except KeyError as error:
            raise DataError(f"{path}, row {number}: no {error} in it; {_EXPECTED[kind]}") from None
        except (TypeError, ValueError, DataError) as error:
            problem = str(error).rstrip(".")
            raise DataError(f"{path}, row {number}: {problem}; {_EXPECTED[kind]}") from None
    if not records:
        raise DataError(f"{path} holds no rows; {_EXPECTED[kind]}")
    return records


def _prompt(value: Any) -> Prompt:
    if isinstance(value, str):
        return Prompt(_name(value), (Message("user", _text(value)),))
    turns = _mapping(value)["messages"]
    if not isinstance(turns, list):
        raise TypeError("messages is not a list")
    messages = tuple(Message(m["role"], _text(m["content"])) for m in map(_mapping, turns))
    if not messages or any(m.role not in ("system", "user", "assistant", "tool") for m in messages):
        raise ValueError("a message has a role of system, user, assistant or tool")
    return Prompt(_id(value, repr(messages)), messages)


def _completion(value: Any) -> Completion:
    if isinstance(value, str):
        return Completion(_name(value), _text(value))
    text = _text(_mapping(value)["text"])
    return Completion(_id(value, text), text, _text(str(value.get("source", ""))))


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r:.40} is neither a text nor a JSON object")
    return value


def _id(row: Mapping[str, Any], content: str) -> str:
    """The row's id, or one made from its content."""
    return _name(content) if row.get("id") in (None, "") else _text(str(row["id"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not a text")
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
    """A text with all its ratings; or, in the long form, with the one rating that the row holds."""
    long = "ratings" not in row and "rating" in row
    found = [row["rating"]] if long else row["ratings"]
    ratings = tuple(float(r) for r in found) if isinstance(found, list) else ()
    if not ratings or not all(map(math.isfinite, ratings)):
        raise ValueError("ratings is not a list of at least one finite number")
    named = [row.get("rater") or ""] if long else row.get("raters") or []
    if not isinstance(named, list) or len(named) not in (0, len(ratings)):
        raise ValueError("raters is not a list with one name for each rating")
    raters = tuple(_text(str(name)) for name in named) if any(named) else ()
    text = _text(row["text"])
    prompt = None if row.get("prompt") is None else _prompt(row["prompt"])
    name = _id(row, f"{prompt.id if prompt else ''}\n{text}") if long else _text(str(row["id"]))
    return RatedText(name, text, ratings, prompt, raters)


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
    RatedText: 'a row is {"id": "…", "text": "…", "ratings": […]} or {"text": "…", "rater": "…", "rating": 3}.',
}
