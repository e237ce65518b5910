"""Chat templates: rendering of conversations, the text around an answer, the token that ends it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from gnomon.core.boundary import first_line
from gnomon.core.errors import DataError
from gnomon.core.types import JsonText, Message, Prompt
from gnomon.data.reading.media.parts import check_read_by_models

_MARKER = "gnomon"
_OPENED = re.compile(r"<(?P<tag>\w+)>\s*\Z")  # a tag at the end of the generation prompt
# Turns as in the HH data (Bai et al. 2022); only an answer has an end token, at which sampling stops.
PLAIN_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% set names = {'user': 'Human', 'assistant': 'Assistant', 'system': 'System', 'tool': 'Tool'} %}"
    "{% for message in messages %}"
    "{% if not loop.first %}{{ '\\n\\n' }}{% endif %}"
    "{{ names[message.role] }}: {{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\nAssistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class TemplateInputs:
    """What a chat template reads beside the messages.

    Attributes:
        tools: JSON schemas of functions.
        kwargs: a JSON object with further variables; empty if there are none.
    """

    tools: tuple[JsonText, ...] = ()
    kwargs: JsonText = ""

    @classmethod
    def of(cls, prompt: Prompt) -> TemplateInputs:
        """The inputs of a prompt."""
        return cls(prompt.tools, prompt.chat_template_kwargs)


NO_INPUTS = TemplateInputs()


def render_text(
    tokenizer: Any, messages: Sequence[Message], where: str, *, answer: bool, inputs: TemplateInputs = NO_INPUTS
) -> str:
    """Render a conversation with the chat template, as transformers' `apply_chat_template` does.

    The arguments of tool calls are objects; a template that joins them to texts gets their JSON.

    Args:
        tokenizer: with its chat template.
        messages: the turns.
        where: the row, for messages.
        answer: append the generation prompt, after which the assistant's answer follows.
        inputs: tools and further variables.

    Raises:
        DataError: the template refuses it, or a turn holds more than text.
    """
    check_read_by_models(messages, where)
    marks = (tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token)
    try:
        return _rendered(tokenizer, marks, tuple(messages), answer, inputs)
    except Exception as error:  # noqa: BLE001 - a template raises what its expressions do: OverflowError, TypeError
        problem = f"{where}: the chat template refuses it ({first_line(error)})"
        raise DataError(f"{problem}; change the turns.") from None


@lru_cache(maxsize=16)  # the completions of a prompt follow each other, and each needs its text
def _rendered(
    tokenizer: Any,
    _marks: tuple[str | None, ...],
    messages: tuple[Message, ...],
    answer: bool,
    inputs: TemplateInputs,
) -> str:
    arguments = [_arguments(call) for message in messages for call in message.tool_calls]
    try:
        text = _applied(tokenizer, messages, answer, inputs)
    except TypeError:  # of a template that joins a text and an object
        if not arguments:
            raise
    else:
        # A template that prints an object without making it JSON prints Python's own form of it.
        if not any(str(one) in text and str(one) != _json(one) for one in arguments):
            return text
    return _applied(tokenizer, messages, answer, inputs, arguments_as=_json)


def _applied(
    tokenizer: Any,
    messages: Sequence[Message],
    answer: bool,
    inputs: TemplateInputs,
    arguments_as: Callable[[Any], Any] = lambda arguments: arguments,
) -> str:
    rows = [_for_template(message, arguments_as) for message in messages]
    tools = list(map(json.loads, inputs.tools)) or None
    kwargs = json.loads(inputs.kwargs) if inputs.kwargs else {}
    return str(
        tokenizer.apply_chat_template(rows, tools=tools, add_generation_prompt=answer, tokenize=False, **kwargs)
    )


def _for_template(message: Message, arguments_as: Callable[[Any], Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    for key in ("reasoning_content", "name", "tool_call_id"):
        if (value := getattr(message, key)) is not None:
            row[key] = value
    if message.tool_calls:
        row["tool_calls"] = calls = list(map(json.loads, message.tool_calls))
        for call in calls:
            call["function"]["arguments"] = arguments_as(call["function"]["arguments"])
    return row


def _arguments(call: JsonText) -> dict[str, Any]:
    arguments: dict[str, Any] = json.loads(call)["function"]["arguments"]
    return arguments


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class AnswerFrame(NamedTuple):
    """What stands around an answer.

    Attributes:
        end: id of the token that ends it.
        prefix: white space before it that the tokenizer adds by itself.
        written: whether the template writes the end.
    """

    end: int
    prefix: str
    written: bool


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """Tokenize a text without adding special tokens."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def turn_end(tokenizer: Any) -> int:
    """Return the id that ends an assistant's turn.

    It is the first special token after the text of a rendered turn; `eos` if the template has none.
    """
    return _frame(tokenizer, tokenizer.chat_template, tokenizer.eos_token_id).end


def added_prefix(tokenizer: Any) -> str:
    """Return the white space that the template writes before an answer and that the tokenizer adds by itself."""
    return _frame(tokenizer, tokenizer.chat_template, tokenizer.eos_token_id).prefix


def writes_turn_end(tokenizer: Any) -> bool:
    """Return whether the template itself ends an assistant's turn with a token."""
    return _frame(tokenizer, tokenizer.chat_template, tokenizer.eos_token_id).written


def text_after_answer(tokenizer: Any) -> str:
    """Return what the template writes behind an assistant's last answer: an end of turn, perhaps a new line."""
    turns = [Message("user", _MARKER), Message("assistant", _MARKER)]
    whole = render_text(tokenizer, turns, "a question and its answer", answer=False)
    return whole[whole.rindex(_MARKER) + len(_MARKER) :]


def answer_opening(tokenizer: Any, kwargs: JsonText = "") -> str:
    """Return the start of an answer that is part of the generation prompt, such as `<think>` and a new line.

    It is never sampled, so a sampled text lacks it. A tag that the template writes as a header does not count: an
    answer that begins with the tag then has it twice.

    Args:
        tokenizer: with its chat template.
        kwargs: a JSON object with further variables of the template.
    """
    return _opening(tokenizer, tokenizer.chat_template, tokenizer.eos_token, kwargs)


@lru_cache(maxsize=8)
def _opening(tokenizer: Any, _template: str, _eos: str | None, kwargs: JsonText) -> str:
    question, inputs = [Message("user", _MARKER)], TemplateInputs(kwargs=kwargs)
    before = render_text(tokenizer, question, "a question", answer=False, inputs=inputs)
    prompt = render_text(tokenizer, question, "a question", answer=True, inputs=inputs).removeprefix(before)
    match = _OPENED.search(prompt)
    if match is None:
        return ""
    thinking = Message("assistant", f"{match[0]}{_MARKER}</{match['tag']}>{_MARKER}")
    whole = render_text(
        tokenizer, [*question, thinking], "a question and its answer", answer=False, inputs=inputs
    )
    return match[0] if whole.removeprefix(before).count(match[0].rstrip()) < 2 else ""


@lru_cache(maxsize=8)  # called for every completion; everything that could change the result is an argument
def _frame(tokenizer: Any, _template: str, eos: int | None) -> AnswerFrame:
    """Return what stands around an answer."""
    question = [Message("user", _MARKER)]
    opening = render_text(tokenizer, question, "a question", answer=True)
    whole = render_text(
        tokenizer, [*question, Message("assistant", _MARKER)], "a question and its answer", answer=False
    )
    if whole.count(_MARKER) != 2:
        raise DataError("the chat template does not write a question and its answer once each; fix it.")
    after = ids_of(tokenizer, whole[whole.rindex(_MARKER) + len(_MARKER) :])
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    written = next((i for i in after if i in special), None)
    end = eos if written is None else written
    if end is None:
        raise DataError("the tokenizer names no end-of-text token; set eos_token in its folder.")
    lead = whole[len(opening) : whole.rindex(_MARKER)] if whole.startswith(opening) else ""
    if not lead.isspace():
        return AnswerFrame(int(end), "", written is not None)
    inside = ids_of(tokenizer, opening + lead + _MARKER)[len(ids_of(tokenizer, opening)) :]
    prefix = "" if inside == ids_of(tokenizer, lead + _MARKER) else lead
    return AnswerFrame(int(end), prefix, written is not None)


def longest_token(tokenizer: Any) -> int:
    """Return an upper bound of a token's length in characters, which gives a text's minimum number of tokens.

    Four times the longest token, since a normalizer may drop characters.
    """
    return 4 * _longest(tokenizer, len(tokenizer))


@lru_cache(maxsize=8)
def _longest(tokenizer: Any, _size: int) -> int:
    return max(map(len, tokenizer.get_vocab()), default=1)
