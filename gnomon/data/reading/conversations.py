"""Parsing of prompts and completions in common layouts: texts, objects, lists of messages.

A conversation is cut between messages, never inside one: two answers that start with the same words do not
share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, JsonText, MediaPart, Message, Prompt
from gnomon.data.reading.counting import counted
from gnomon.data.reading.media.parts import media_of
from gnomon.data.reading.messages import (
    context_fingerprint,
    fingerprint,
    messages,
    same_turns,
    text_of_turns,
    unmarked,
)
from gnomon.data.reading.row_fields import brief, filled, identity, listed, mapping, name_of, required, text
from gnomon.data.reading.tools import template_kwargs_of, tools_of

ASKING = ("user", "tool")  # roles whose turn calls for an answer
_SYSTEM = "call the column system, or start the messages with a system message"
REFUSED_COLUMNS = {  # columns that change what a row means and that no record has
    "functions": "the older form of tools; call the column tools",
    "documents": "which Gnomon does not render; write them into a message",
    "history": "which --format llama-factory reads; or give the turns as a list of messages",
    "rejected_response": "which makes a preference; map it with --columns rejected=rejected_response",
    "system_prompt": _SYSTEM,
    "system_message": _SYSTEM,
}


def row_prompt(row: Mapping[str, Any]) -> Prompt:
    """Parse a row's `prompt` with its `tools`; the text of a `system` column becomes its system message."""
    refuse_columns(row)
    return with_tools(prompt_of(required(row, "prompt"), system=row_system(row)), row)


def refuse_context(row: Mapping[str, Any]) -> None:
    """Refuse the columns of a row without a prompt that would be part of its prompt."""
    names = {"a system column": row_system(row), "tools": tools_of(row.get("tools"))}
    for name, value in names.items():
        if value:
            raise DataError(f"the row has {name} but no prompt; give it a prompt, or remove the column")


def with_tools(prompt: Prompt, row: Mapping[str, Any]) -> Prompt:
    """Add a row's `tools` and `chat_template_kwargs` to its prompt, which may have the same ones already.

    Raises:
        DataError: the prompt has others.
    """
    tools, kwargs = tools_of(row.get("tools")), template_kwargs_of(row.get("chat_template_kwargs"))
    for key, given, own in (
        ("tools", tools, prompt.tools),
        ("chat_template_kwargs", kwargs, prompt.chat_template_kwargs),
    ):
        if given and own and given != own:
            raise DataError(f"the row and its prompt have different {key}; remove one of them")
    return _with_context(prompt, tools or prompt.tools, kwargs or prompt.chat_template_kwargs)


def _with_context(prompt: Prompt, tools: tuple[JsonText, ...], kwargs: JsonText) -> Prompt:
    """Set what the chat template reads beside the messages; an id that was computed includes it."""
    if (tools, kwargs) == (prompt.tools, prompt.chat_template_kwargs):
        return prompt
    known = replace(prompt, tools=tools, chat_template_kwargs=kwargs)
    computed = prompt.id == name_of(context_fingerprint(prompt))
    return replace(known, id=name_of(context_fingerprint(known))) if computed else known


def refuse_columns(row: Mapping[str, Any]) -> None:
    """Refuse columns that change the meaning of the row and that Gnomon cannot use."""
    if row.keys().isdisjoint(REFUSED_COLUMNS):
        return
    for name, advice in REFUSED_COLUMNS.items():
        value = row.get(name)
        if filled(value) and value not in ("[]", "{}", "null"):
            raise DataError(f"the row has {name}, {advice}")


def prompt_of(value: Any, row: Mapping[str, Any] | None = None, *, system: str | None = None) -> Prompt:
    """Parse a prompt from a text, a message, a list of messages, or `{"id", "messages"}`.

    An empty prompt is refused: it is nearly always a cell that was left blank.

    Args:
        value: the prompt.
        row: object with the id and the answer of a prompt that has none itself.
        system: text of a system message to put first.
    """
    named = row or {}
    if isinstance(value, str):
        turns: tuple[Message, ...] = (Message("user", text(value, "prompt")),)
    elif isinstance(value, list):
        turns = messages(value, "prompt")
    elif _is_message(value):
        turns = messages([value])
    else:
        named = mapping(value)
        turns = messages(required(named, "messages"))
    return _prompt(_with_system(turns, system), named)


def _prompt(turns: tuple[Message, ...], named: Mapping[str, Any]) -> Prompt:
    """Build the prompt of some turns, with the id and the answer of `named`."""
    if not turns or turns[-1].role not in ASKING:
        last = f"with the {turns[-1].role}'s turn" if turns else "before it starts"
        raise DataError(f"the prompt ends {last}; its last message is a user's or a tool's")
    ending = turns[-1]
    if not ending.content.strip() and not ending.media and ending.role != "tool":  # a tool may return nothing
        raise DataError("the prompt is empty")
    answer = named.get("answer")
    prompt = Prompt("", turns, None if answer is None else text(str(answer)))
    prompt = with_tools(prompt, named)
    return replace(prompt, id=identity(named, context_fingerprint(prompt)))


def completion_of(value: Any, prompt: Prompt | None = None, key: str = "completion") -> Completion:
    """Parse a completion from a text, `{"id", "text"}`, a message, or messages with or without the prompt's.

    An empty completion is valid: it is the answer of a model that ends its turn at once.

    Args:
        value: the completion.
        prompt: the prompt, whose messages are removed from the start of the completion's.
        key: column of the completion, for messages.
    """
    if isinstance(value, str):
        return Completion(identity({}, value), text(value, key))
    if isinstance(value, list):
        if value and all(isinstance(one, str) for one in value):
            count = counted(len(value), "texts")
            raise DataError(f"{key} is a list of {count}, where one text or messages are expected")
        return _answer(_without_prompt(messages(value, key), prompt))
    if _is_message(value):
        return _answer(messages([value]))
    row = mapping(value)
    if row.get("turns") is not None:
        answer = _answer(messages(row["turns"], "turns"))
        content = text(row.get("text", answer.text))
        return Completion(
            identity(row, answer.id), content, text(str(row.get("source") or "")), None, answer.turns
        )
    content = text(required(row, "text"))
    return Completion(identity(row, content), content, text(str(row.get("source") or "")))


def prompt_and_completion(row: Mapping[str, Any]) -> tuple[Prompt, Completion]:
    """Parse a row with `prompt` and `completion`, or with a conversation under `messages`.

    A conversation's prompt is everything before the assistant's first turn; the rest is the completion.
    """
    refuse_columns(row)
    if row.get("messages") is None or row.get("completion") is not None:
        prompt = row_prompt(row)
        return _unmarked(prompt), completion_of(required(row, "completion"), prompt)
    turns = messages(row["messages"])
    first = next((index for index, turn in enumerate(turns) if turn.role == "assistant"), None)
    if first is None:
        raise DataError("messages have no turn of the assistant")
    question = row.get("prompt")
    wording = messages(question, "prompt")[-1].content if _are_turns(question) and question else question
    if filled(wording) and not any(turn.content == wording for turn in turns[:first]):
        raise DataError("prompt and messages disagree about the question; remove one of them")
    prompt = _prompt(_with_system(turns[:first], row_system(row)), {})
    return with_tools(prompt, row), _answer(turns[first:])


def prompt_and_sides(row: Mapping[str, Any]) -> tuple[Prompt, Completion, Completion]:
    """Parse a preference: the prompt, the chosen and the rejected completion.

    Where both sides are whole conversations, the messages that they share at the start are the prompt; a `prompt`
    beside them is the same, without its system message, or its first or last user's text.
    """
    refuse_columns(row)
    chosen, rejected = required(row, "chosen"), required(row, "rejected")
    if row.get("prompt") is None:
        if not isinstance(chosen, list):
            required(row, "prompt")
        return _shared_prompt(row, messages(listed(chosen, "chosen")), messages(listed(rejected, "rejected")))
    prompt = row_prompt(row)
    if _are_turns(chosen) and _are_turns(rejected):
        first, second = messages(chosen, "chosen"), messages(rejected, "rejected")
        whole = _longer_prompt(prompt, first, second)
        if whole is not None:
            shared = _shared(first, second)
            return whole, _answer(first[shared:]), _answer(second[shared:])
        return prompt, _answer(_without_prompt(first, prompt)), _answer(_without_prompt(second, prompt))
    return prompt, completion_of(chosen, prompt, "chosen"), completion_of(rejected, prompt, "rejected")


def _shared_prompt(
    row: Mapping[str, Any], first: tuple[Message, ...], second: tuple[Message, ...]
) -> tuple[Prompt, Completion, Completion]:
    """Cut two conversations after the messages that they share."""
    shared = _shared(first, second)
    if same_turns(first, second):
        raise DataError("chosen and rejected are the same conversation")
    if not shared:
        raise DataError("chosen and rejected share no prompt; start both with the same messages")
    prompt = with_tools(_prompt(_with_system(unmarked(first[:shared]), row_system(row)), {}), row)
    return prompt, _answer(first[shared:]), _answer(second[shared:])


def _longer_prompt(prompt: Prompt, first: tuple[Message, ...], second: tuple[Message, ...]) -> Prompt | None:
    """Return the prompt that two whole conversations share, where a row's own prompt is a part of it.

    Args:
        prompt: the row's own.
        first: the one conversation.
        second: the other.

    Returns:
        The prompt; `None` if the messages are answers alone, answers after exactly the row's prompt, or the same.

    Raises:
        DataError: the shared messages and the row's prompt disagree, or none are shared.
    """
    start = unmarked(first[: _shared(first, second)])
    if not start and all(turns and turns[0].role != "assistant" for turns in (first, second)):
        raise DataError("chosen and rejected share no prompt; start both with the same messages")
    if not start or start[-1].role not in ASKING or not _without_prompt(start, prompt):
        return None
    if next((one.role for one in start if one.role != "system"), "") not in ASKING:
        return None  # answers of several turns, which begin with the assistant's
    own, turns = ([one for one in some if one.role != "system"] for some in (prompt.messages, start))
    users = [one.content.strip() for one in turns if one.role == "user"]
    part = len(own) == 1 and own[0].content.strip() in (users[:1] + users[-1:])
    if not part and not same_turns(own, turns):
        raise DataError(
            f"the prompt, {brief(own[-1].content)}, is not the one that chosen and rejected start with, "
            f"{brief(users[-1] if users else '')}; remove one of them"
        )
    if not set(map(_content_of_media, media_of(prompt.messages))) <= set(map(_content_of_media, media_of(start))):
        raise DataError("the prompt has media that chosen and rejected do not start with; remove one of them")
    system = next((one.content for one in prompt.messages if one.role == "system"), None)
    computed = prompt.id == name_of(context_fingerprint(prompt))
    whole = replace(prompt, messages=_with_system(start, system))
    return replace(whole, id=name_of(context_fingerprint(whole))) if computed else whole


def _content_of_media(media: MediaPart) -> tuple[str, str]:
    return media.kind, media.source


def _are_turns(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("role") is not None and value.get("messages") is None


def row_system(row: Mapping[str, Any]) -> str | None:
    """Return the text of a row's `system` column, or `None`."""
    value = row.get("system")
    return text(value, "system") if filled(value) else None


def _with_system(turns: tuple[Message, ...], system: str | None) -> tuple[Message, ...]:
    """Prepend the system message of a row's column; one that the turns start with must be the same."""
    if system is None:
        return turns
    if turns and turns[0].role == "system":
        if turns[0].content != system:
            raise DataError("the system column and the system message disagree; remove one of them")
        return turns
    return (Message("system", system), *turns)


def _without_prompt(turns: tuple[Message, ...], prompt: Prompt | None) -> tuple[Message, ...]:
    """Remove the prompt's turns from the start, with or without its system message, if they are there."""
    own = prompt.messages if prompt is not None else ()
    for start in (own, own[1:] if own and own[0].role == "system" else ()):
        if start and same_turns(turns[: len(start)], start):
            return turns[len(start) :]
    return turns


def _shared(first: Sequence[Message], second: Sequence[Message]) -> int:
    """Count the messages that two conversations have in common at the start."""
    pairs = enumerate(zip(first, second, strict=False))
    different = (index for index, (a, b) in pairs if not same_turns((a,), (b,)))
    return next(different, min(len(first), len(second)))


def _unmarked(prompt: Prompt) -> Prompt:
    """Return the prompt; refuse one with a turn marked to be learned, since the completion is learned."""
    if any(turn.train for turn in prompt.messages):
        raise DataError(
            "a message of the prompt is marked to be learned, but the completion is; give the whole "
            "conversation under messages"
        )
    return prompt


def _answer(turns: tuple[Message, ...]) -> Completion:
    """Build a completion: a text for one plain turn; several turns, or one with more than text, stay turns."""
    if not turns:
        raise DataError("the completion has no messages")
    if turns[0].role != "assistant" or turns[-1].role != "assistant":
        other = next(turn.role for turn in (turns[0], turns[-1]) if turn.role != "assistant")
        raise DataError(f"a completion starts and ends with the assistant's turn, not the {other}'s")
    if all(turn.train is False for turn in turns if turn.role == "assistant"):
        raise DataError("no turn of it is to be learned: all have weight 0 or train false")
    if len(turns) == 1 and turns[0] == Message("assistant", turns[0].content, train=turns[0].train):
        return completion_of(turns[0].content)
    content = text_of_turns(turns)
    return Completion(identity({}, fingerprint(turns)), content, turns=turns)
