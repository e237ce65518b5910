"""Rendering of prompts and answers to token ids with the chat template.

Prompt and answer are tokenized separately, so a prompt's tokens never depend on the answer. The learned part of
an answer is everything that the model must write when it is sampled: the text between the template's generation
prompt and the end of the turn, and the token that ends it. Together with the prompt this is the template's own
text, or the row is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Message, Prompt
from gnomon.data.reading.row_fields import check_text
from gnomon.data.templates.chat_template import (
    TemplateInputs,
    added_prefix,
    ids_of,
    render_text,
    turn_end,
    writes_turn_end,
)
from gnomon.data.templates.contents import (
    call_fault,
    check_calls,
    check_kwargs,
    check_tools,
    holds,
    holds_value,
    parts_of_call,
)
from gnomon.data.templates.control_tokens import shielded

ONE_TURN = "cut it to one turn per row"
ONE_LEARNED = f"mark all turns but the last with train false, or {ONE_TURN}"
CHANGED = "changes the text in or around it"


def prompt_label(prompt: Prompt) -> str:
    """Return the name of a prompt in messages: its file and line, else its id."""
    return prompt.where or f"prompt '{prompt.id}'"


def render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Tokenize a prompt with its generation prompt, up to the start of the answer.

    Raises:
        DataError: the template refuses it, or omits the content of a user's, a tool's or the system's message, a
            tool call or a tool.
    """
    where = prompt_label(prompt)
    for number, message in enumerate(prompt.messages, start=1):
        check_text(message.content, f"{where}, message {number}")
    shield, messages, inputs = shielded(tokenizer, prompt.messages, TemplateInputs.of(prompt))
    text = render_text(tokenizer, messages, where, answer=True, inputs=inputs)
    check_kwargs(tokenizer, inputs, where)
    check_tools(tokenizer, messages, inputs, where)
    for number, message in enumerate(messages):
        check_calls(tokenizer, messages, number, inputs, where)
        _check_others_content(text, message, where)
    return shield.ids(tokenizer, text)


def _check_others_content(text: str, message: Message, where: str) -> None:
    """Check that a rendered text holds a message that the policy does not write."""
    written = holds_value(text, message.content) if message.role == "tool" else holds(text, message.content)
    if message.role != "assistant" and not written:
        raise DataError(
            f"{where}: the chat template leaves out or changes the {message.role}'s message; remove it, or "
            "give another template."
        )


def render_conversation(
    tokenizer: Any, prompt: Prompt, turns: Sequence[Message], where: str = "completion"
) -> list[int]:
    """Tokenize a conversation as the template writes all of it, with what follows the last end of turn.

    These are the ids of transformers' `apply_chat_template` without a generation prompt, on which reward models
    that were trained elsewhere are scored.

    Args:
        tokenizer: with its chat template.
        prompt: the conversation up to the answer.
        turns: the assistant's, and between them others'.
        where: the row, for messages.

    Raises:
        DataError: the template refuses it, or omits the content of a turn.
    """
    for turn in (*prompt.messages, *turns):
        check_text(turn.content, where)
    shield, messages, inputs = shielded(tokenizer, [*prompt.messages, *turns], TemplateInputs.of(prompt))
    text = render_text(tokenizer, messages, where, answer=False, inputs=inputs)
    check_kwargs(tokenizer, inputs, where)
    check_tools(tokenizer, messages, inputs, where)
    for number, message in enumerate(messages):
        check_calls(tokenizer, messages, number, inputs, where)
        if message.role != "assistant":
            _check_others_content(text, message, where)
        elif number >= len(prompt.messages) and not holds(text, message.content):
            raise DataError(f"{where}: the chat template {CHANGED}; give another template.")
    return shield.ids(tokenizer, text)


class _Rewritten(DataError):
    """The template does not keep or end an earlier turn as the policy wrote it."""


def render_turns(
    tokenizer: Any, prompt: Prompt, turns: Sequence[Message], where: str = "completion"
) -> tuple[list[int], list[bool]]:
    """Tokenize an answer of one or more turns; returns its ids and the mask of those that are learned.

    The text after the prompt's is cut at the start and end of each turn of the assistant, and the pieces are
    tokenized separately. What the assistant writes is learned, its tool calls too. Headers, turns of others and
    turns that are marked not to be learned are masked out. The last end of turn is the last token.

    A learned turn must stand in the conversation as the policy writes it. A turn that is not learned may stand
    there as the template rewrites it, for example without its reasoning.

    Args:
        tokenizer: with its chat template.
        prompt: the prompt that it answers.
        turns: the assistant's, and between them others'.
        where: the row, for messages.

    Raises:
        DataError: the template changes a learned turn when later ones follow, or changes the content of a turn.
    """
    labels = [where] if len(turns) == 1 else [f"{where}, turn {n}" for n in range(1, len(turns) + 1)]
    for label, turn in zip(labels, turns, strict=True):
        check_text(turn.content, label)
    if not any(turn.role == "assistant" for turn in turns):
        raise DataError(f"{where}: it has no turn of the assistant; remove it.")
    shield, messages, inputs = shielded(tokenizer, [*prompt.messages, *turns], TemplateInputs.of(prompt))
    pieces = partial(_pieces, tokenizer, messages, labels, inputs)
    try:
        rendered = pieces(skipped=())
    except _Rewritten:
        unlearned = [n for n, turn in enumerate(turns[:-1]) if turn.role == "assistant" and turn.train is False]
        if not unlearned:
            raise
        rendered = pieces(skipped=unlearned)
    ids, mask = list[int](), list[bool]()
    for header, content, end, learned in rendered:
        header_ids, content_ids = shield.ids(tokenizer, header), [*shield.ids(tokenizer, content), end]
        ids += header_ids + content_ids
        mask += [False] * len(header_ids) + [learned] * len(content_ids)
    return ids, mask


def _pieces(
    tokenizer: Any,
    messages: Sequence[Message],
    labels: Sequence[str],
    inputs: TemplateInputs,
    skipped: Collection[int],
) -> list[tuple[str, str, int, bool]]:
    """Cut an answer's text into pieces: text before a turn of the assistant, the turn, its end, whether learned.

    Args:
        tokenizer: with its chat template.
        messages: of the prompt and the answer.
        labels: names of the answer's turns, for messages.
        inputs: tools and further variables.
        skipped: turns of the answer that are no pieces of their own, but stand before the next one.
    """
    start, advice = len(messages) - len(labels), ONE_TURN if skipped else ONE_LEARNED
    pieces: list[tuple[str, str, int, bool]] = []
    others: list[Message] = []
    written = render_text(tokenizer, messages[:start], labels[0], answer=True, inputs=inputs)
    for number, (label, turn) in enumerate(zip(labels, messages[start:], strict=True)):
        before = messages[: start + number]
        if number in skipped:
            check_calls(tokenizer, messages, start + number, inputs, label)
        elif turn.role != "assistant":
            others.append(turn)
        else:
            opening = render_text(tokenizer, before, label, answer=True, inputs=inputs)
            if not opening.startswith(written):
                raise _Rewritten(f"{label}: the chat template rewrites earlier turns; {advice}.")
            header = opening[len(written) :]
            for other in others:
                _check_others_content(header, other, label)
            answer, ended, end = _answer_text(tokenizer, before, turn, opening, label, inputs)
            if not ended and number < len(labels) - 1:
                raise _Rewritten(f"{label}: the chat template does not end an assistant's turn; {advice}.")
            content = answer.removeprefix(added_prefix(tokenizer))
            if not turn.content and not answer.strip():  # an empty answer is its end of turn alone
                header, content = header and header + answer, ""
            pieces.append((header, content, end, turn.train is not False))
            written, others = opening + answer + ended, []
    return pieces


def _answer_text(
    tokenizer: Any, before: Sequence[Message], turn: Message, opening: str, where: str, inputs: TemplateInputs
) -> tuple[str, str, int]:
    """Return the template's text of an assistant's turn after `opening`, and the text and id that end it.

    The text is empty if the template writes none, as for a model whose end of text ends its turns.

    Raises:
        DataError: the turn is not written after the generation prompt, or not with all of its content.
    """
    whole = render_text(tokenizer, [*before, turn], where, answer=False, inputs=inputs)
    if not whole.startswith(opening):
        raise DataError(
            f"{where}: the chat template does not write this answer after its own generation prompt; give "
            "another template (model.chat_template), or write the answer as it requires."
        )
    end = turn_end(tokenizer)
    answer, ended, _ = whole[len(opening) :].partition(str(tokenizer.convert_ids_to_tokens(end)))
    if turn.tool_calls:
        check_calls(tokenizer, [*before, turn], len(before), inputs, where)
        if not ended:
            answer, ended, end = _end_of_calls(tokenizer, answer, end, where)
    for part, fault in ((turn.reasoning_content, "leaves out its reasoning_content"), (turn.content, CHANGED)):
        # The generation prompt may hold the start of the text, for example the tag that opens the reasoning.
        if part and not (
            holds(answer, part) or holds(_header(tokenizer, before, opening, where, inputs) + answer, part)
        ):
            raise DataError(f"{where}: the chat template {fault}; change the turn, or give another template.")
    for call in turn.tool_calls:
        if not all(holds_value(answer, part) for part in parts_of_call(call)):
            raise DataError(f"{where}: {call_fault(call)}")
    if not ended:
        answer = (
            answer[: answer.rindex(turn.content) + len(turn.content)]
            if turn.content in answer and not turn.tool_calls
            else answer.rstrip()
        )
    return answer, ended, end


def _end_of_calls(tokenizer: Any, answer: str, end: int, where: str) -> tuple[str, str, int]:
    """Split the text of a turn with tool calls before the token that ends it, where that is one of its own.

    Raises:
        DataError: the template ends other turns with a token, but not this one.
    """
    if not writes_turn_end(tokenizer):
        return answer, "", end
    answer = answer.rstrip()
    ids = ids_of(tokenizer, answer)
    last = ids[-1] if ids else end
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    if last not in special | set(tokenizer.all_special_ids):
        raise DataError(
            f"{where}: the chat template ends this turn with tool calls by no token; give another template "
            "(model.chat_template)."
        )
    token = str(tokenizer.convert_ids_to_tokens(last))
    return answer.removesuffix(token), token, last


def _header(tokenizer: Any, before: Sequence[Message], opening: str, where: str, inputs: TemplateInputs) -> str:
    """Return the generation prompt: the rest of `opening` after the turns before it."""
    return opening.removeprefix(render_text(tokenizer, before, where, answer=False, inputs=inputs))


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Decode sampled ids to text without special tokens."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()
