"""Rendering of prompts and answers to token ids with the chat template.

Prompt and answer are tokenized separately, so a prompt's tokens never depend on the answer. The learned part of
an answer is everything that the model must write when it is sampled: the text between the template's generation
prompt and the end of the turn, and the token that ends it. Together with the prompt this is the template's own
text, or the row is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Message, Prompt
from gnomon.data.reading.row_fields import check_text
from gnomon.data.templates.chat_template import added_prefix, render_text, turn_end
from gnomon.data.templates.control_tokens import shielded

ONE_TURN = "cut it to one turn per row"
CHANGED = "changes the text in or around it"


def prompt_label(prompt: Prompt) -> str:
    """Return the name of a prompt in messages: its file and line, else its id."""
    return prompt.where or f"prompt '{prompt.id}'"


def render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Tokenize a prompt with its generation prompt, up to the start of the answer.

    Raises:
        DataError: the template refuses it, or omits the content of a user's or the system's message.
    """
    where = prompt_label(prompt)
    for number, message in enumerate(prompt.messages, start=1):
        check_text(message.content, f"{where}, message {number}")
    shield, messages = shielded(tokenizer, prompt.messages)
    text = render_text(tokenizer, messages, where, answer=True)
    for message in messages:
        if message.role in ("system", "user") and not _holds(text, message.content):
            raise DataError(
                f"{where}: the chat template leaves out or changes the {message.role}'s message; remove it, or "
                "give another template."
            )
    return shield.ids(tokenizer, text)


def render_turns(
    tokenizer: Any, prompt: Prompt, turns: Sequence[Message], where: str = "completion"
) -> tuple[list[int], list[bool]]:
    """Tokenize an answer of one or more turns; returns its ids and the mask of those that are learned.

    The text after the prompt's is cut at the start and end of each turn of the assistant, and the pieces are
    tokenized separately. Headers, turns of others and turns that are marked not to be learned are masked out. The
    last end of turn is the last token.

    Args:
        tokenizer: with its chat template.
        prompt: the prompt that it answers.
        turns: the assistant's, and between them others'.
        where: the row, for messages.

    Raises:
        DataError: the template changes earlier turns when later ones follow, or changes the content of a turn.
    """
    labels = [where] if len(turns) == 1 else [f"{where}, turn {n}" for n in range(1, len(turns) + 1)]
    for label, turn in zip(labels, turns, strict=True):
        check_text(turn.content, label)
    if not any(turn.role == "assistant" for turn in turns):
        raise DataError(f"{where}: it has no turn of the assistant; remove it.")
    shield, messages = shielded(tokenizer, [*prompt.messages, *turns])
    before, rest = messages[: len(prompt.messages)], messages[len(prompt.messages) :]
    end, ids, mask = turn_end(tokenizer), list[int](), list[bool]()
    written = render_text(tokenizer, before, where, answer=True)
    for label, turn in zip(labels, rest, strict=True):
        if turn.role == "assistant":
            opening = render_text(tokenizer, before, label, answer=True)
            if not opening.startswith(written):
                raise DataError(f"{label}: the chat template rewrites earlier turns; {ONE_TURN}.")
            answer, ended = _answer_text(tokenizer, before, turn, opening, label)
            if not ended and len(rest) > 1:
                raise DataError(f"{label}: the chat template does not end an assistant's turn; {ONE_TURN}.")
            header, content = opening[len(written) :], answer.removeprefix(added_prefix(tokenizer))
            if not turn.content and not answer.strip():  # an empty answer is its end of turn alone
                header, content = header and header + answer, ""
            others, learned = shield.ids(tokenizer, header), [*shield.ids(tokenizer, content), end]
            ids += others + learned
            mask += [False] * len(others) + [turn.train is not False] * len(learned)
            written = opening + answer + ended
        before.append(turn)
    return ids, mask


def _answer_text(
    tokenizer: Any, before: Sequence[Message], turn: Message, opening: str, where: str
) -> tuple[str, str]:
    """Return the template's text of an assistant's turn after `opening`, and the text of the token that ends it.

    The latter is empty if the template writes none, as for a model whose end of text ends its turns.

    Raises:
        DataError: the turn is not written after the generation prompt, or not with all of its content.
    """
    whole = render_text(tokenizer, [*before, turn], where, answer=False)
    if not whole.startswith(opening):
        raise DataError(
            f"{where}: the chat template does not write this answer after its own generation prompt; give "
            "another template (model.chat_template), or write the answer as it requires."
        )
    ending = str(tokenizer.convert_ids_to_tokens(turn_end(tokenizer)))
    answer, ended, _ = whole[len(opening) :].partition(ending)
    for part, fault in ((turn.reasoning_content, "leaves out its reasoning_content"), (turn.content, CHANGED)):
        # The generation prompt may hold the start of the text, for example the tag that opens the reasoning.
        if part and not (
            _holds(answer, part) or _holds(_header(tokenizer, before, opening, where) + answer, part)
        ):
            raise DataError(f"{where}: the chat template {fault}; change the turn, or give another template.")
    if not ended:
        answer = (
            answer[: answer.rindex(turn.content) + len(turn.content)]
            if turn.content in answer
            else answer.rstrip()
        )
    return answer, ended


def _holds(text: str, part: str) -> bool:
    """Return whether a text holds a part; only the white space around and in it may differ."""
    return part.strip() in text or "".join(part.split()) in "".join(text.split())


def _header(tokenizer: Any, before: Sequence[Message], opening: str, where: str) -> str:
    """Return the generation prompt: the rest of `opening` after the turns before it."""
    return opening.removeprefix(render_text(tokenizer, before, where, answer=False))


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Decode sampled ids to text without special tokens."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()
