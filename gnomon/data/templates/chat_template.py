"""Chat templates: rendering of conversations, the text around an answer, the token that ends it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gnomon.core.boundary import first_line
from gnomon.core.errors import DataError
from gnomon.core.types import Message

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


def render_text(tokenizer: Any, messages: Sequence[Message], where: str, *, answer: bool) -> str:
    """Render a conversation with the chat template.

    Args:
        tokenizer: with its chat template.
        messages: the turns.
        where: the row, for messages.
        answer: append the generation prompt, after which the assistant's answer follows.

    Raises:
        DataError: the template refuses it.
    """
    marks = (tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token)
    try:
        return _rendered(tokenizer, marks, tuple(messages), answer)
    except Exception as error:  # noqa: BLE001 - a template raises what its expressions do: OverflowError, TypeError
        problem = f"{where}: the chat template refuses it ({first_line(error)})"
        raise DataError(f"{problem}; change the turns.") from None


@lru_cache(maxsize=16)  # the completions of a prompt follow each other, and each needs its text
def _rendered(tokenizer: Any, _marks: tuple[str | None, ...], messages: tuple[Message, ...], answer: bool) -> str:
    plain = [_for_template(message) for message in messages]
    return str(tokenizer.apply_chat_template(plain, add_generation_prompt=answer, tokenize=False))


def _for_template(message: Message) -> dict[str, str]:
    row: dict[str, str] = {"role": message.role, "content": message.content}
    return row if message.reasoning_content is None else {**row, "reasoning_content": message.reasoning_content}


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """Tokenize a text without adding special tokens."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def turn_end(tokenizer: Any) -> int:
    """Return the id that ends an assistant's turn.

    It is the first special token after the text of a rendered turn; `eos` if the template has none.
    """
    return _frame(tokenizer, tokenizer.chat_template, tokenizer.eos_token_id)[0]


def added_prefix(tokenizer: Any) -> str:
    """Return the white space that the template writes before an answer and that the tokenizer adds by itself."""
    return _frame(tokenizer, tokenizer.chat_template, tokenizer.eos_token_id)[1]


def answer_opening(tokenizer: Any) -> str:
    """Return the start of an answer that is part of the generation prompt, such as `<think>` and a new line.

    It is never sampled, so a sampled text lacks it. A tag that the template writes as a header does not count: an
    answer that begins with the tag then has it twice.
    """
    return _opening(tokenizer, tokenizer.chat_template, tokenizer.eos_token)


@lru_cache(maxsize=8)
def _opening(tokenizer: Any, _template: str, _eos: str | None) -> str:
    question = [Message("user", _MARKER)]
    before = render_text(tokenizer, question, "a question", answer=False)
    prompt = render_text(tokenizer, question, "a question", answer=True).removeprefix(before)
    match = _OPENED.search(prompt)
    if match is None:
        return ""
    thinking = Message("assistant", f"{match[0]}{_MARKER}</{match['tag']}>{_MARKER}")
    whole = render_text(tokenizer, [*question, thinking], "a question and its answer", answer=False)
    return match[0] if whole.removeprefix(before).count(match[0].rstrip()) < 2 else ""


@lru_cache(maxsize=8)  # called for every completion; everything that could change the result is an argument
def _frame(tokenizer: Any, _template: str, eos: int | None) -> tuple[int, str]:
    """Return the id that ends an answer, and the white space before an answer that the tokenizer adds."""
    question = [Message("user", _MARKER)]
    opening = render_text(tokenizer, question, "a question", answer=True)
    whole = render_text(
        tokenizer, [*question, Message("assistant", _MARKER)], "a question and its answer", answer=False
    )
    if whole.count(_MARKER) != 2:
        raise DataError("the chat template does not write a question and its answer once each; fix it.")
    after = ids_of(tokenizer, whole[whole.rindex(_MARKER) + len(_MARKER) :])
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    end = next((i for i in after if i in special), eos)
    if end is None:
        raise DataError("the tokenizer names no end-of-text token; set eos_token in its folder.")
    lead = whole[len(opening) : whole.rindex(_MARKER)] if whole.startswith(opening) else ""
    if not lead.isspace():
        return int(end), ""
    inside = ids_of(tokenizer, opening + lead + _MARKER)[len(ids_of(tokenizer, opening)) :]
    return int(end), "" if inside == ids_of(tokenizer, lead + _MARKER) else lead


def longest_token(tokenizer: Any) -> int:
    """Return an upper bound of a token's length in characters, which gives a text's minimum number of tokens.

    Four times the longest token, since a normalizer may drop characters.
    """
    return 4 * _longest(tokenizer, len(tokenizer))


@lru_cache(maxsize=8)
def _longest(tokenizer: Any, _size: int) -> int:
    return max(map(len, tokenizer.get_vocab()), default=1)
