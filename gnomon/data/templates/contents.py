"""Checks that a chat template writes what a conversation holds: texts, tools, tool calls and their results.

A template that does not support tools leaves them out without a word. Training on its text would teach answers
to questions that the model never sees, so such a conversation is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import JsonText, Message
from gnomon.data.templates.chat_template import TemplateInputs, render_text

OTHER_TEMPLATE = "give another template (model.chat_template)"


def holds(text: str, part: str) -> bool:
    """Return whether a text holds a part; only the white space around and in it may differ."""
    return part.strip() in text or "".join(part.split()) in "".join(text.split())


def holds_value(text: str, part: str) -> bool:
    """Return whether a text holds a part as it is, or as a text in JSON."""
    return holds(text, part) or holds(text, json.dumps(part, ensure_ascii=False)[1:-1])


def check_kwargs(tokenizer: Any, inputs: TemplateInputs, where: str) -> None:
    """Check that the template reads each variable that is a text; switches of other templates do no harm.

    Args:
        tokenizer: with its chat template.
        inputs: variables of a prompt.
        where: the row, for messages.

    Raises:
        DataError: a text would be left out.
    """
    kwargs = json.loads(inputs.kwargs) if inputs.kwargs else {}
    for name, value in kwargs.items():
        if isinstance(value, str) and not re.search(rf"\b{name}\b", str(tokenizer.chat_template)):
            raise DataError(
                f"{where}: the chat template does not read {name}, set in chat_template_kwargs; remove it, or "
                f"{OTHER_TEMPLATE}."
            )


def check_tools(
    tokenizer: Any, messages: Sequence[Message], inputs: TemplateInputs, where: str, *, answer: bool = True
) -> None:
    """Check that the template writes the name, the description and the parameters of each tool.

    Args:
        tokenizer: with its chat template.
        messages: the turns of a prompt.
        inputs: its tools.
        where: the row, for messages.
        answer: whether the generation prompt follows.

    Raises:
        DataError: it does not.
    """
    if not inputs.tools:
        return
    text = render_text(tokenizer, messages, where, answer=answer, inputs=inputs)
    without = render_text(tokenizer, messages, where, answer=answer, inputs=replace(inputs, tools=()))
    for tool in inputs.tools:
        schema = json.loads(tool)
        function = schema.get("function", schema)
        parts = [function["name"], function.get("description"), *_parameters(function)]
        if text == without or not all(holds_value(text, part) for part in parts if isinstance(part, str)):
            raise DataError(
                f"{where}: the chat template does not write the tool {function['name']}; remove the row's tools, "
                f"or {OTHER_TEMPLATE}."
            )


def check_calls(
    tokenizer: Any, messages: Sequence[Message], number: int, inputs: TemplateInputs, where: str
) -> None:
    """Check that the template writes every call of a message: without it, the text would be another one.

    Args:
        tokenizer: with its chat template.
        messages: the turns up to the message, or more.
        number: index of the message.
        inputs: tools and further variables.
        where: the row, for messages.

    Raises:
        DataError: it leaves one out.
    """
    turn = messages[number]
    if not turn.tool_calls:
        return
    text = render_text(tokenizer, messages, where, answer=False, inputs=inputs)
    for index, call in enumerate(turn.tool_calls):
        fewer = replace(turn, tool_calls=turn.tool_calls[:index] + turn.tool_calls[index + 1 :])
        others = [*messages[:number], fewer, *messages[number + 1 :]]
        try:
            left_out = render_text(tokenizer, others, where, answer=False, inputs=inputs) == text
        except DataError:  # it needs this call
            left_out = False
        if left_out or not all(holds_value(text, part) for part in parts_of_call(call)):
            raise DataError(f"{where}: {call_fault(call)}")


def call_fault(call: JsonText) -> str:
    """The sentence about a call that a template does not write."""
    name = json.loads(call)["function"]["name"]
    return f"the chat template does not write the call of {name} as it is; remove the row, or {OTHER_TEMPLATE}."


def parts_of_call(call: JsonText) -> list[str]:
    """Return the name, and all names, texts and numbers in the arguments of a call."""
    function = json.loads(call)["function"]
    return [function["name"], *_leaves(function["arguments"])]


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)


def _parameters(function: dict[str, Any]) -> list[str]:
    """Return the names of a function's parameters."""
    schema = function.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return list(properties) if isinstance(properties, dict) else []
