"""Text to token ids, once: prompts through the chat template, completions after it, on their own.

Prompt and completion are tokenised separately, so a prompt's tokens never depend on what follows. A completion
ends with the token that ends a turn, which is trained and stops sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gnomon.core.boundary import first_line
from gnomon.core.errors import DataError
from gnomon.core.types import Message, Prompt

_MARKER = "gnomon"
# Turns as in the HH data (Bai et al. 2022); only an answer has an end, which is what sampling waits for.
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


def render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Ids of a prompt up to where the answer starts."""
    for number, message in enumerate(prompt.messages, start=1):
        check_text(message.content, f"prompt '{prompt.id}', message {number}")
    return _ids(tokenizer, _rendered(tokenizer, prompt.messages, f"prompt '{prompt.id}'", answer=True))


def render_completion(tokenizer: Any, text: str, where: str) -> list[int]:
    """Ids of an answer, with the token that ends the turn."""
    check_text(text, where)
    return [*_ids(tokenizer, answer_lead(tokenizer) + text if text else ""), turn_end(tokenizer)]


def render_turns(
    tokenizer: Any, prompt: Prompt, turns: Sequence[Message], where: str = "completion"
) -> tuple[list[int], list[bool]]:
    """Ids of an answer of several turns, and which of them the assistant wrote.

    What follows the prompt's own tokens is the chat template's text, cut where the assistant's words and the
    token that ends its turn begin and end; the pieces are tokenised on their own, as an answer of one turn is.
    Headers and others' turns are masked out. The last end of turn is the last token.

    Raises:
        DataError: the template writes earlier turns otherwise once later ones follow, or changes what was said.
    """
    for number, turn in enumerate(turns, start=1):
        check_text(turn.content, f"{where}, turn {number}")
    end, first = turn_end(tokenizer), answer_lead(tokenizer)
    ending = str(tokenizer.convert_ids_to_tokens(end))
    ids: list[int] = []
    mask: list[bool] = []
    before = list(prompt.messages)
    written = _rendered(tokenizer, before, where, answer=True)
    for number, turn in enumerate(turns, start=1):
        if turn.role == "assistant":
            opening = _rendered(tokenizer, before, where, answer=True)
            lead, said, tail = _spoken(tokenizer, before, turn, opening, f"{where}, turn {number}")
            gap, ends, _ = tail.partition(ending)
            if not opening.startswith(written) or not ends:
                fault = "does not end an assistant's turn" if not ends else "rewrites earlier turns"
                raise DataError(f"{where}, turn {number}: the chat template {fault}; cut it to one turn a row.")
            header = opening[len(written) :]
            if said and lead == first:
                said, lead = lead + said, ""
            for piece, counts in ((header + lead, False), (said, True), (gap, False)):
                found = _ids(tokenizer, piece)
                ids, mask = ids + found, mask + [counts] * len(found)
            ids, mask = [*ids, end], [*mask, True]
            written = opening + lead + said + gap + ends
        before.append(turn)
    if not any(mask):
        raise DataError(f"{where}: the assistant says nothing in it; remove it.")
    return ids, mask


def _spoken(
    tokenizer: Any, before: Sequence[Message], turn: Message, opening: str, where: str
) -> tuple[str, str, str]:
    """What the template writes after `opening` for an assistant's turn: before its words, the words, after them.

    Found by rendering the turn with a marker for its words. Templates may strip white space, nothing else.
    """
    marked = _rendered(tokenizer, [*before, Message("assistant", _MARKER)], where, answer=False)
    whole = _rendered(tokenizer, [*before, turn], where, answer=False)
    lead, _, tail = marked[len(opening) :].rpartition(_MARKER)
    if marked.startswith(opening):
        for said in (turn.content, turn.content.strip()):
            if whole == opening + lead + said + tail:
                return lead, said, tail
    raise DataError(f"{where}: the chat template changes what stands around or in it; use one turn a row.")


def _rendered(tokenizer: Any, messages: Sequence[Message], where: str, *, answer: bool) -> str:
    """A conversation as the template writes it; with `answer` up to where the assistant speaks next."""
    plain = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(plain, add_generation_prompt=answer, tokenize=False))
    except Exception as error:  # noqa: BLE001 - a template raises what its expressions do: OverflowError, TypeError
        problem = f"{where}: the chat template refuses it ({first_line(error)})"
        raise DataError(f"{problem}; change the turns.") from None


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def turn_end(tokenizer: Any) -> int:
    """The id that ends an assistant's turn.

    Found by rendering a turn: the first special token after its text; `eos` where the template has none.
    """
    return _frame(tokenizer, tokenizer.chat_template, tokenizer.eos_token_id)[1]


def answer_lead(tokenizer: Any) -> str:
    """White space between the template's header and an answer that belongs to the answer's first token.

    Templates of the form `Assistant: …` have it. Where the tokenizer adds it by itself there is none to add: what
    counts is that an answer alone gets the tokens that it has inside the whole text.
    """
    return _frame(tokenizer, tokenizer.chat_template, tokenizer.eos_token_id)[0]


@lru_cache(maxsize=8)  # every completion asks; whatever could change the answer is an argument
def _frame(tokenizer: Any, _template: str, eos: int | None) -> tuple[str, int]:
    """What stands around an answer: the white space before it and the id that ends it."""
    asked = [Message("user", _MARKER)]
    opening = _rendered(tokenizer, asked, "a question", answer=True)
    whole = _rendered(
        tokenizer, [*asked, Message("assistant", _MARKER)], "a question and its answer", answer=False
    )
    if whole.count(_MARKER) != 2:
        raise DataError("the chat template does not write a question and its answer once each; mend it.")
    after = _ids(tokenizer, whole[whole.rindex(_MARKER) + len(_MARKER) :])
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    end = next((i for i in after if i in special), eos)
    if end is None:
        raise DataError("the tokenizer names no end-of-text token; set eos_token in its folder.")
    lead = whole[len(opening) : whole.rindex(_MARKER)] if whole.startswith(opening) else ""
    if lead.isspace():
        inside = _ids(tokenizer, opening + lead + _MARKER)[len(_ids(tokenizer, opening)) :]
        if inside == _ids(tokenizer, lead + _MARKER):
            return lead, int(end)
    return "", int(end)


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids without special tokens."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()


def check_text(text: str, where: str) -> None:
    """Refuse what cannot be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: character {error.start + 1} is half of a surrogate pair, not text; remove it."
        ) from None
