"""Prompts and completions in the layouts that people use: texts, objects, lists of messages.

A conversation is cut between messages, never between characters: two answers that start with the same words
do not share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.data.fields import identity, listed, mapping, messages, required, text

ASKING = ("user", "tool")  # whose turn calls for an answer


def prompt_of(value: Any, row: Mapping[str, Any] | None = None) -> Prompt:
    """A prompt from a text, a list of messages, or `{"id", "messages"}`; else its id is that of `row`.

    A prompt without words is refused: it is nearly always a cell that was left blank.
    """
    named = row or {}
    if isinstance(value, str):
        turns: tuple[Message, ...] = (Message("user", text(value)),)
    elif isinstance(value, list):
        turns = messages(value)
    else:
        named = mapping(value)
        turns = messages(required(named, "messages"))
    if not turns or turns[-1].role not in ASKING:
        last = f"with the {turns[-1].role}'s turn" if turns else "before it starts"
        raise DataError(f"the prompt ends {last}; its last message is a user's or a tool's")
    if not turns[-1].content.strip():
        raise DataError("the prompt is empty")
    return Prompt(identity(named, _content(turns)), turns)


def completion_of(value: Any, prompt: Prompt | None = None) -> Completion:
    """A completion from a text, `{"id", "text"}`, or messages that follow the prompt or repeat it first.

    An empty completion is an answer, the one of a model that ends its turn at once.
    """
    if isinstance(value, str):
        return Completion(identity({}, value), text(value))
    if isinstance(value, list):
        turns = messages(value)
        if prompt is not None and turns[: len(prompt.messages)] == prompt.messages:
            turns = turns[len(prompt.messages) :]
        return _answer(turns)
    row = mapping(value)
    if row.get("turns") is not None:
        answer = _answer(messages(row["turns"]))
        said, turns_kept = text(row.get("text", answer.text)), answer.turns
        return Completion(identity(row, answer.id), said, text(str(row.get("source", ""))), None, turns_kept)
    said = text(required(row, "text"))
    return Completion(identity(row, said), said, text(str(row.get("source", ""))))


def prompt_and_completion(row: Mapping[str, Any]) -> tuple[Prompt, Completion]:
    """Of a row with `prompt` and `completion`, or of a conversation under `messages`.

    A conversation's prompt is everything before the assistant first speaks; the rest is the completion.
    """
    if row.get("messages") is None or row.get("completion") is not None:
        prompt = prompt_of(required(row, "prompt"))
        return prompt, completion_of(required(row, "completion"), prompt)
    turns = messages(row["messages"])
    first = next((place for place, turn in enumerate(turns) if turn.role == "assistant"), None)
    if first is None:
        raise DataError("the assistant says nothing in messages")
    return _prompt(turns[:first]), _answer(turns[first:])


def prompt_and_sides(row: Mapping[str, Any]) -> tuple[Prompt, Completion, Completion]:
    """Of a preference: the prompt, the chosen and the rejected completion.

    Without `prompt`, both sides are whole conversations, and the messages that they share at the start are it.
    """
    chosen, rejected = required(row, "chosen"), required(row, "rejected")
    if row.get("prompt") is not None:
        prompt = prompt_of(row["prompt"])
        return prompt, completion_of(chosen, prompt), completion_of(rejected, prompt)
    if isinstance(chosen, str) and not chosen.lstrip().startswith("["):
        raise DataError("no 'prompt' in it, and chosen is no list of messages that starts with one")
    first, second = messages(listed(chosen, "chosen")), messages(listed(rejected, "rejected"))
    shared = _shared(first, second)
    if first == second:
        raise DataError("chosen and rejected are the same conversation")
    if not shared:
        raise DataError("chosen and rejected share no prompt; start both with the same messages")
    return _prompt(first[:shared]), _answer(first[shared:]), _answer(second[shared:])


def _shared(first: Sequence[Message], second: Sequence[Message]) -> int:
    """How many messages two conversations have in common at the start."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


def _prompt(turns: tuple[Message, ...]) -> Prompt:
    return prompt_of([{"role": turn.role, "content": turn.content} for turn in turns])


def _answer(turns: tuple[Message, ...]) -> Completion:
    """One turn of the assistant is a plain text; several, with others between them, keep their form."""
    if not turns:
        raise DataError("the completion has no messages")
    if turns[0].role != "assistant" or turns[-1].role != "assistant":
        other = next(turn.role for turn in (turns[0], turns[-1]) if turn.role != "assistant")
        raise DataError(f"a completion starts and ends with the assistant's turn, not the {other}'s")
    if len(turns) == 1:
        return completion_of(turns[0].content)
    said = "\n\n".join(turn.content for turn in turns if turn.role == "assistant")
    return Completion(identity({}, _content(turns)), said, turns=turns)


def _content(turns: tuple[Message, ...]) -> str:
    """What an id is made from: a lone user's words count as the text that they are."""
    alone = len(turns) == 1 and turns[0].role == "user"
    return turns[0].content if alone else repr(turns)
