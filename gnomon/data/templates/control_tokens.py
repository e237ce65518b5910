"""Control tokens in message texts, which are tokenized as plain text: no text can end a turn or open another.

A template's own control tokens become special tokens; the same characters inside a message are tokenized as plain
text. Only an end of turn at the very end of an assistant's text is dropped, since the template writes it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.data.reading.tools import map_texts, texts_in
from gnomon.data.templates.chat_template import NO_INPUTS, TemplateInputs, ids_of, turn_end

_PRIVATE = range(0xF0000, 0xFFFFE)  # characters to which Unicode gives no meaning


@dataclass(frozen=True)
class Shield:
    """Placeholders for control tokens in texts: single characters that the conversation does not contain."""

    tokens: dict[str, str]  # placeholder -> token

    def hide(self, messages: Iterable[Message], inputs: TemplateInputs) -> tuple[list[Message], TemplateInputs]:
        """Replace control tokens in all texts of the messages, tools and variables by placeholders."""
        placeholders = {token: placeholder for placeholder, token in self.tokens.items()}
        pattern = re.compile("|".join(map(re.escape, sorted(placeholders, key=len, reverse=True))))

        def hidden(text: str) -> str:
            return pattern.sub(lambda match: placeholders[match[0]], text)

        hidden_messages = [
            replace(
                message,
                content=hidden(message.content),
                reasoning_content=message.reasoning_content and hidden(message.reasoning_content),
                tool_calls=tuple(map_texts(call, hidden) for call in message.tool_calls),
                name=message.name and hidden(message.name),
                tool_call_id=message.tool_call_id and hidden(message.tool_call_id),
            )
            for message in messages
        ]
        tools = tuple(map_texts(tool, hidden) for tool in inputs.tools)
        kwargs = map_texts(inputs.kwargs, hidden) if inputs.kwargs else ""
        return hidden_messages, TemplateInputs(tools, kwargs)

    def ids(self, tokenizer: Any, text: str) -> list[int]:
        """Tokenize a rendered text; placeholders become the plain text of their tokens."""
        pieces = re.split(f"([{re.escape(''.join(self.tokens))}])", text) if self.tokens else [text]
        ids: list[int] = []
        for piece in pieces:
            if piece in self.tokens:
                ids += _plain_ids(tokenizer, self.tokens[piece])
            elif piece:
                ids += ids_of(tokenizer, piece)
        return ids


NO_SHIELD = Shield({})


def shielded(
    tokenizer: Any, messages: Sequence[Message], inputs: TemplateInputs = NO_INPUTS
) -> tuple[Shield, list[Message], TemplateInputs]:
    """Prepare messages for a template: hide control tokens, and drop ends of turns that the template writes.

    Args:
        tokenizer: with its chat template.
        messages: the turns.
        inputs: tools and further variables.
    """
    plain = [without_end(tokenizer, message) for message in messages]
    texts = [text for message in plain for text in message_texts(message)] + input_texts(inputs)
    tokens = {token for text in texts for token in _pattern(tokenizer, len(tokenizer)).findall(text)}
    if not tokens:
        return NO_SHIELD, plain, inputs
    used = set().union(*texts)
    free = (chr(code) for code in _PRIVATE if chr(code) not in used)
    shield = Shield(dict(zip(free, sorted(tokens), strict=False)))
    return shield, *shield.hide(plain, inputs)


def message_texts(message: Message) -> list[str]:
    """Return all texts of a message: its content, reasoning and names, and those in its tool calls."""
    own = (message.content, message.reasoning_content, message.name, message.tool_call_id)
    return [*filter(None, own), *(text for call in message.tool_calls for text in texts_in(call))]


def input_texts(inputs: TemplateInputs) -> list[str]:
    """Return all texts in tools and variables of a template."""
    values = (*inputs.tools, inputs.kwargs) if inputs.kwargs else inputs.tools
    return [text for value in values for text in texts_in(value)]


def without_end(tokenizer: Any, message: Message) -> Message:
    """Remove the end of turn, or of text, from the end of an assistant's message."""
    if message.role != "assistant":
        return message
    ends = {str(tokenizer.convert_ids_to_tokens(turn_end(tokenizer))), tokenizer.eos_token} - {None, ""}
    text = message.content
    while (ended := next((end for end in ends if text.rstrip().endswith(end)), None)) is not None:
        text = text.rstrip().removesuffix(ended)
    return message if text == message.content else replace(message, content=text)


@dataclass
class ControlCounts:
    """Counts of control tokens in the texts of a file's records.

    Attributes:
        plain: number of records, by token, in whose texts it is read as plain text.
        ends: number of the assistant's texts that end with an end of turn, which is written once.
    """

    plain: Counter[str] = field(default_factory=Counter)
    ends: int = 0

    def add(self, tokenizer: Any, prompt: Prompt, completions: Sequence[Completion]) -> None:
        """Count a record.

        Args:
            tokenizer: with its chat template.
            prompt: of the record.
            completions: of the record.
        """
        turns = list(_turns(prompt, completions))
        cut = [without_end(tokenizer, turn) for turn in turns]
        pattern = _pattern(tokenizer, len(tokenizer))
        texts = [text for turn in cut for text in message_texts(turn)] + input_texts(TemplateInputs.of(prompt))
        self.plain.update(set(pattern.findall("\n".join(texts))))
        self.ends += sum(a is not b for a, b in zip(turns, cut, strict=True))

    def merge(self, other: ControlCounts) -> None:
        """Add the counts of other records."""
        self.plain.update(other.plain)
        self.ends += other.ends

    def facts(self) -> list[tuple[str, str]]:
        """Return the counts that are not 0 as names and values."""
        rows = [(token, count) for token, count in sorted(self.plain.items())]
        named = ", ".join(f"{token} in {count:,}" for token, count in rows)
        facts = [("control tokens in words, read as plain text", named)] if named else []
        return facts + (
            [("texts that end with an end of turn, written once", f"{self.ends:,}")] if self.ends else []
        )


def _turns(prompt: Prompt, completions: Sequence[Completion]) -> Iterator[Message]:
    yield from prompt.messages
    for one in completions:
        yield from (Message("assistant", one.text),) if one.turns is None else one.turns


@lru_cache(maxsize=8)
def _pattern(tokenizer: Any, _size: int) -> re.Pattern[str]:
    """Return the pattern of control tokens; added tokens that are not special, such as `<think>`, are none."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    ending = str(tokenizer.convert_ids_to_tokens(turn_end(tokenizer)))
    tokens = sorted((special | {ending, *tokenizer.all_special_tokens}) - {""}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, tokens)) if tokens else r"(?!)")


def _plain_ids(tokenizer: Any, token: str) -> list[int]:
    """Tokenize the characters of a control token as plain text.

    Raises:
        DataError: the tokenizer has no other way to write them.
    """
    ids = list(tokenizer(token, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    control = {tokenizer.convert_tokens_to_ids(token), turn_end(tokenizer), tokenizer.eos_token_id}
    if len(token) > 1 and control & set(ids):  # one character may be a word and a padding token at once
        raise DataError(f"the tokenizer cannot write the control token {token} as plain text; remove it")
    return ids
