"""Conversations in ChatML, a text with `<|im_start|>` and `<|im_end|>`; and messages under other names.

A text may be a whole conversation, or a prompt that ends with the start of the assistant's turn and its answers.
https://github.com/openai/openai-python/blob/release-v0.28.1/chatml.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Preference, Prompt
from gnomon.data.formats.common.conversations import Messages, answered, is_messages, most
from gnomon.data.formats.common.verdicts import answer_pair
from gnomon.data.formats.contract import Format, UnusedRow, carried, has_value, source_column
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, required, text

START, END = "<|im_start|>", "<|im_end|>"
TURN = re.compile(rf"{re.escape(START)}[ ]?(?P<role>\w+)(?:[^\S\n]*\n|[ ]?)")
WHOLE = ("text", "messages", "conversation", "conversations", "dialogue", "dialog", "chat")
NAMED_MESSAGES = ("conversation", "conversations", "dialogue", "dialog", "chat")
SIDES = ("completion", "chosen", "rejected")


class ChatML(Format):
    """Texts with ChatML's marks, and lists of messages under a name such as `conversation`."""

    name = "chatml"
    title = "ChatML conversations"
    kinds = (Demonstration, Preference, Label, Prompt)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A text that starts with the mark of a turn, or messages that are not under `messages`."""
        marked = [key for key in (*WHOLE, "prompt", *SIDES) if is_chatml(row.get(key))]
        if marked:
            return f"{marked[0]} starts with {START}"
        named = _only_key(row) if answer_pair(row) is None else None  # else both answer the conversation
        if named and not has_value(row, "messages", "prompt", "chosen", "rejected", "completion", "kto_tag"):
            return f"{named} holds messages with role and content"
        return None

    def kind_of(self, rows: Sequence[Mapping[str, Any]]) -> type:
        """By the columns; conversations are demonstrations."""
        if most(rows, "chosen", "rejected"):
            return Preference
        if most(rows, "label", "good"):
            return Label
        return Demonstration if most(rows, "completion", *WHOLE) else Prompt

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Split the texts into messages."""
        if kind is Preference:
            sides = {side: text(required(row, side), side) for side in ("chosen", "rejected")}
            yield {**carried(row, kind, {"prompt", *sides}), **_pair(row, sides)}
            return
        key = next((key for key in WHOLE if has_value(row, key)), None)
        if kind is Prompt:
            source = "prompt" if row.get("prompt") is not None else key or "prompt"
            yield {**carried(row, kind, {source}), "prompt": _messages(required(row, source))}
        elif row.get("completion") is not None:
            prompt, completion = _with_answer(required(row, "prompt"), text(row["completion"], "completion"))
            yield {**carried(row, kind, {"prompt", "completion"}), "prompt": prompt, "completion": completion}
        else:
            key = key or source_column(row, WHOLE)
            turns = answered(row, _messages(required(row, key)))
            yield {**carried(row, kind, {key}), "messages": turns}


def is_chatml(value: Any) -> bool:
    """Return whether a cell is a text that starts with ChatML's mark of a turn."""
    return isinstance(value, str) and value.lstrip().startswith(START)


def messages_of(transcript: str) -> tuple[Messages, bool]:
    """Split a text into messages; also return whether the last one has its end.

    Raises:
        DataError: text stands outside the turns, or a turn without its end is not the last.
    """
    messages, ended, position = [], True, _skip_space(transcript, 0)
    while position < len(transcript):
        start = TURN.match(transcript, position)
        if start is None:
            raise DataError(f"{brief(transcript[position : position + 40])} stands outside the turns of {START}")
        end, later = (transcript.find(mark, start.end()) for mark in (END, START))
        if later != -1 and not start.end() <= end < later:
            raise DataError(f"a turn of the {start['role']} has no {END} before the next one starts")
        ended = end != -1
        messages.append({"role": start["role"], "content": transcript[start.end() : end if ended else None]})
        position = _skip_space(transcript, end + len(END)) if ended else len(transcript)
    return messages, ended


def _skip_space(transcript: str, position: int) -> int:
    rest = transcript[position:]
    return len(transcript) - len(rest.lstrip())


def _only_key(row: Mapping[str, Any]) -> str | None:
    return next((key for key in NAMED_MESSAGES if is_messages(row.get(key))), None)


def _messages(value: Any) -> Messages:
    """Return the messages of a text or a list, without a turn of the assistant that has only started."""
    if isinstance(value, list):
        return list(value)
    turns, ended = messages_of(text(value))
    return turns if ended or turns[-1]["content"].strip() else turns[:-1]


def _with_answer(prompt: Any, answer: str) -> tuple[Messages, Messages]:
    """Return the messages of a prompt and of its answer, whose turn the prompt may have started already."""
    if isinstance(prompt, list):
        before, started = list(prompt), f"{START}assistant\n"
    else:
        before, ended = messages_of(text(prompt, "prompt"))
        open_turn = {"role": "assistant", "content": ""} if ended else before.pop()
        started = f"{START}{open_turn['role']}\n{open_turn['content']}"
    return before, messages_of(answer if is_chatml(answer) else started + answer)[0]


def _pair(row: Mapping[str, Any], sides: Mapping[str, str]) -> Row:
    if sides["chosen"] == sides["rejected"]:
        raise UnusedRow("chosen and rejected are the same text")
    if row.get("prompt") is None:
        return {side: messages_of(content)[0] for side, content in sides.items()}
    both = {side: _with_answer(row["prompt"], content) for side, content in sides.items()}
    return {"prompt": both["chosen"][0], **{side: answer for side, (_, answer) in both.items()}}
