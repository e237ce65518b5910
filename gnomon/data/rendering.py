"""Text to token ids, once: prompts through the chat template, completions after it, on their own.

Prompt and completion are tokenised separately, so a prompt's tokens never depend on what follows. A completion
ends with the token that ends a turn, which is trained and stops sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Prompt

_MARKER = "gnomon"


def render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Ids of a prompt up to where the answer starts.

    A tokenizer without a chat template gets turns as `Human: …` and `Assistant:`, the form of the HH data.
    """
    for number, message in enumerate(prompt.messages, start=1):
        check_text(message.content, f"prompt '{prompt.id}', message {number}")
    if tokenizer.chat_template is None:
        names = {"user": "Human", "assistant": "Assistant", "system": "System", "tool": "Tool"}
        turns = [f"{names[m.role]}: {m.content}" for m in prompt.messages]
        text = "\n\n".join([*turns, "Assistant:"])
        start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        return start + list(tokenizer(text, add_special_tokens=False)["input_ids"])
    messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
    return list(
        tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    )


def render_completion(tokenizer: Any, text: str, where: str) -> list[int]:
    """Ids of an answer, with the token that ends the turn."""
    check_text(text, where)
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], turn_end(tokenizer)]


def turn_end(tokenizer: Any) -> int:
    """The id that ends an assistant's turn.

    Found by rendering a turn: the first special token after its text; `eos` where the template has none.
    """
    if tokenizer.chat_template is not None:
        turn = [{"role": "user", "content": _MARKER}, {"role": "assistant", "content": _MARKER}]
        text = tokenizer.apply_chat_template(turn, tokenize=False)
        after = tokenizer(text[text.rindex(_MARKER) + len(_MARKER) :], add_special_tokens=False)["input_ids"]
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        found = next((i for i in after if i in special), None)
        if found is not None:
            return int(found)
    if tokenizer.eos_token_id is None:
        raise DataError("the tokenizer names no end-of-text token; set eos_token in its folder.")
    return int(tokenizer.eos_token_id)


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
