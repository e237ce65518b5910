"""Text to ids once: boundaries that hold, terminators from the template, any language."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import byte_tokenizer, prompts_of

from gnomon.core.errors import DataError
from gnomon.core.types import Message, Prompt
from gnomon.data.rendering import decode, render_completion, render_prompt, turn_end
from gnomon.models.random_model import CHAT_TEMPLATE

TEXTS = ["a good film", " very good", "", "一部好电影。", "👍🏽 ok", "tab\tand\nline", "nul\x00byte", "Yes "]
PROMPT = Prompt("p", (Message("system", "Be brief."), Message("user", "Review: a very")))


def test_a_prompt_is_the_template_once(chat_tokenizer: Any) -> None:
    """One turn start for each turn and one for the answer: nothing is doubled by the tokenizer's own extras."""
    ids = render_prompt(chat_tokenizer, PROMPT)
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nReview: a very<|im_end|>\n"
    assert chat_tokenizer.decode(ids) == text + "<|im_start|>assistant\n"
    assert ids.count(chat_tokenizer.bos_token_id) == 3


def test_the_plain_template_names_turns_and_has_one_bos(bare_tokenizer: Any) -> None:
    ids = render_prompt(bare_tokenizer, PROMPT)
    assert bare_tokenizer.decode(ids) == "<s>System: Be brief.\n\nHuman: Review: a very\n\nAssistant:"
    assert ids.count(bare_tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_a_completion_comes_back_and_ends_once(text: str, chat: bool) -> None:
    tokenizer = byte_tokenizer(chat=chat)
    ids = render_completion(tokenizer, text, "row 1")
    end = tokenizer.eos_token_id
    assert ids.count(end) == 1
    assert ids[-1] == end
    assert tokenizer.decode(ids[:-1]) == (" " + text if text and not chat else text)  # "Assistant: …"
    assert decode(tokenizer, ids) == text.strip()


@pytest.mark.parametrize("text", TEXTS)
def test_a_prompts_ids_never_depend_on_what_follows(text: str, bare_tokenizer: Any) -> None:
    """ "a very" then " good" merge when tokenised as one text; apart, the prompt stays what it was."""
    prompt = render_prompt(bare_tokenizer, PROMPT)
    both = prompt + render_completion(bare_tokenizer, text, "row 1")
    assert both[: len(prompt)] == render_prompt(bare_tokenizer, PROMPT)


def test_the_terminator_is_the_templates_own() -> None:
    """A template that ends turns otherwise than the text ends, as Llama 3 does (eot, not end of text)."""
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|eot|>"]})
    tokenizer.chat_template = CHAT_TEMPLATE.replace("<|im_end|>", "<|eot|>")
    assert turn_end(tokenizer) == tokenizer.convert_tokens_to_ids("<|eot|>") != tokenizer.eos_token_id
    assert render_completion(tokenizer, "a", "row 1")[-1] == turn_end(tokenizer)


def test_a_template_without_terminator_falls_back_on_the_end_of_text() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    assert turn_end(tokenizer) == tokenizer.eos_token_id


def test_a_tokenizer_without_any_end_is_refused() -> None:
    tokenizer = byte_tokenizer(chat=False)
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="end-of-text"):
        turn_end(tokenizer)


def test_half_a_surrogate_pair_is_refused_with_its_place(chat_tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"row 7: character 3 is half of a surrogate pair"):
        render_completion(chat_tokenizer, "ab\ud83d", "row 7")
    with pytest.raises(DataError, match=r"prompt 'p0', message 1: character 1 is half"):
        render_prompt(chat_tokenizer, prompts_of("\udc00")[0])
