"""Parsing of tools, tool calls and variables of the chat template: JSON values, each kept as its text.

A tool call has the layout of OpenAI's chat API, which transformers' chat templates read. Its arguments are an
object, or JSON text of an object, as that API writes them: the two are one call. A tool is the JSON schema of a
function. Objects keep the order of their keys, since templates print them in that order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import JsonText
from gnomon.data.reading.row_fields import brief, check_text, filled, listed, text

NOTHING = ("[]", "{}", "null")  # JSON texts of cells that are empty
RESERVED = frozenset({
    "messages", "conversation", "tools", "documents", "chat_template", "add_generation_prompt", "tokenize",
    "continue_final_message", "sanitize_control_tokens", "padding", "truncation", "max_length", "return_tensors",
    "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs", "bos_token", "eos_token", "unk_token",
    "pad_token", "sep_token", "cls_token", "mask_token", "self",
})  # fmt: skip
"""Arguments of `apply_chat_template` and variables that the tokenizer sets."""


def tool_calls_of(value: Any) -> tuple[JsonText, ...]:
    """Parse the tool calls of a message; none if the cell is empty.

    Raises:
        DataError: one of them is no call of a function with arguments.
    """
    if not _given(value):
        return ()
    return tuple(_call(_decoded(one, "tool_calls")) for one in listed(value, "tool_calls"))


def tools_of(value: Any) -> tuple[JsonText, ...]:
    """Parse the tools of a row; none if the cell is empty.

    Raises:
        DataError: one of them is no JSON schema of a function.
    """
    if not _given(value):
        return ()
    return tuple(_tool(_decoded(one, "tools")) for one in listed(value, "tools"))


def template_kwargs_of(value: Any) -> JsonText:
    """Parse a row's `chat_template_kwargs`: switches, numbers and texts for the chat template, by name.

    Names without a value (null, an empty text or list) are as if they were not there.

    Raises:
        DataError: it is no object, or it would change more than the template's own switches.
    """
    if not _given(value):
        return ""
    given = _plain(_decoded(value, "chat_template_kwargs"))
    if not isinstance(given, dict):
        raise DataError(f"chat_template_kwargs is {brief(given)}, not an object with names and values")
    kwargs = {name: one for name, one in given.items() if filled(one)}
    for name, one in kwargs.items():
        if name in RESERVED or not name.isidentifier():
            raise DataError(f"chat_template_kwargs has {brief(name)}, which is no variable that a row can set")
        if isinstance(one, list | dict):
            raise DataError(
                f"chat_template_kwargs has {name} with a list or an object, which Gnomon does not pass on; give "
                "functions as tools"
            )
    return json_text(kwargs, "chat_template_kwargs") if kwargs else ""


def json_text(value: Any, key: str) -> JsonText:
    """Return the JSON text of a value, its keys in order.

    Raises:
        DataError: it cannot be written as JSON in UTF-8.
    """
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise DataError(f"{key} is nested too deeply, or has a value that JSON cannot hold, as NaN") from None
    check_text(written, key)
    return written


def map_texts(value: JsonText, change: Callable[[str], str]) -> JsonText:
    """Return a JSON value with all its texts changed, names of keys too."""

    def changed(one: Any) -> Any:
        if isinstance(one, str):
            return change(one)
        if isinstance(one, list):
            return list(map(changed, one))
        return {change(k): changed(v) for k, v in one.items()} if isinstance(one, dict) else one

    return json.dumps(changed(json.loads(value)), ensure_ascii=False)


def texts_in(value: JsonText) -> list[str]:
    """Return all texts in a JSON value, names of keys too."""
    texts: list[str] = []

    def collect(one: str) -> str:
        texts.append(one)
        return one

    map_texts(value, collect)
    return texts


def without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """Drop nulls from the tools and tool calls of a row of an Arrow table.

    All objects of a column of such a table have the same keys: those that an object did not have are null.
    """
    return {key: _without_nulls(value, key in ("tools", "tool_calls")) for key, value in row.items()}


def _without_nulls(value: Any, inside: bool) -> Any:
    if isinstance(value, list):
        return [_without_nulls(one, inside) if isinstance(one, dict | list) else one for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_nulls(one, inside or key in ("tools", "tool_calls"))
        for key, one in value.items()
        if one is not None or not inside
    }


def _given(value: Any) -> bool:
    return filled(value) and not (isinstance(value, str) and value.strip() in ("", *NOTHING))


def _decoded(value: Any, key: str) -> Any:
    """Decode JSON text, as a table holds it; other values stay as they are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise DataError(f"{key} has {brief(value)} in it, which is not JSON") from None


def _plain(value: Any) -> Any:
    """Copy a value of a row into plain objects and lists; all keys in it count as read."""
    try:
        if isinstance(value, Mapping):
            return {str(key): _plain(value[key]) for key in value}
        return list(map(_plain, value)) if isinstance(value, list | tuple) else value
    except RecursionError:
        raise DataError("a tool or a tool call is nested too deeply") from None


def _call(value: Any) -> JsonText:
    call = _plain(value)
    if isinstance(call, dict) and "function" not in call and "name" in call:
        for key in call.keys() - {"name", "arguments", "type", "id"}:
            raise DataError(f"a message has tool_calls with {brief(key)}, which is no part of a call")
        own = {key: call[key] for key in ("id",) if filled(call.get(key))}
        flat = {key: call[key] for key in ("name", "arguments") if key in call}
        call = {**own, "type": "function", "function": flat}
    function: Any = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(name := function.get("name"), str) or not name:
        raise DataError(
            f"a message has tool_calls with {brief(call)}, where a call is "
            '{"type": "function", "function": {"name": …, "arguments": {…}}}'
        )
    if call.get("type") not in (None, "function"):
        raise DataError(f"a message has tool_calls of the type {brief(call['type'])}, not of the type 'function'")
    call = {key: one for key, one in call.items() if one is not None}
    if "id" in call:
        text(call["id"], "id of a tool call")
    call["function"] = {**function, "arguments": _arguments(function, name)}
    return json_text(call, "tool_calls")


def _arguments(function: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the arguments of a call as an object."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            raise DataError(
                f"a message has tool_calls whose arguments of {brief(name)} are not JSON: {brief(arguments)}"
            ) from None
    if not isinstance(arguments, dict):
        raise DataError(
            f"a message has tool_calls whose arguments of {brief(name)} are {brief(arguments)}, not an object; "
            "write {} for a call without arguments"
        )
    return dict(arguments)


def _tool(value: Any) -> JsonText:
    tool = _plain(value)
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    named = isinstance(function, dict) and isinstance(function.get("name"), str) and function["name"]
    described = isinstance(tool, dict) and {"function", "parameters", "description"} & tool.keys()
    if not named or not described:
        raise DataError(
            f"the row has tools with {brief(tool)}, where a tool is the JSON schema of a function: "
            '{"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}'
        )
    return json_text(tool, "tools")
