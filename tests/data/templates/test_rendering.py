"""Text to ids once: boundaries that hold, terminators from the template, any language."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import byte_tokenizer, prompts_of, render_completion

from gnomon.core.errors import DataError
from gnomon.core.types import Message, Prompt
from gnomon.data.templates.chat_template import turn_end
from gnomon.data.templates.rendering import decode, render_prompt, render_turns
from gnomon.models.tiny_random import CHAT_TEMPLATE

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
def test_a_prompts_ids_never_depend_on_the_answer(text: str, bare_tokenizer: Any) -> None:
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


TALK = [
    Message("assistant", "a good film"),
    Message("tool", "4 of 5"),
    Message("user", "一部"),
    Message("assistant", ""),
]


@pytest.mark.parametrize("chat", [True, False])
def test_several_turns_are_the_templates_text_with_the_assistants_part_marked(chat: bool) -> None:
    tokenizer = byte_tokenizer(chat=chat)
    ids, mask = render_turns(tokenizer, PROMPT, TALK)
    whole = [{"role": m.role, "content": m.content} for m in (*PROMPT.messages, *TALK)]
    prompt = render_prompt(tokenizer, PROMPT)
    text = tokenizer.apply_chat_template(whole, tokenize=False)
    assert tokenizer.decode(prompt + ids).rstrip() == text.rstrip()
    kept = [i for i, counts in zip(ids, mask, strict=True) if counts]
    assert kept == render_completion(tokenizer, "a good film", "") + render_completion(tokenizer, "", "")
    assert mask[-1]
    assert ids[-1] == turn_end(tokenizer)
    assert not any(mask[len(render_completion(tokenizer, "a good film", "")) : -1])


@pytest.mark.parametrize("chat", [True, False])
def test_one_turn_equals_a_plain_completion(chat: bool) -> None:
    tokenizer = byte_tokenizer(chat=chat)
    ids, mask = render_turns(tokenizer, PROMPT, TALK[:1])
    assert ids == render_completion(tokenizer, "a good film", "")
    assert all(mask)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            ("{{ m.content }}", "{{ m.content if m.role == 'user' or loop.last else '…' }}"),
            "rewrites earlier turns",
        ),
        (("{{ m.content }}", "{{ m.content | upper }}"), "a question and its answer once each"),
        (("{{ m.content }}", "{{ m.content | replace('good', 'bad') }}"), "changes the text in or around it"),
        (("<|im_end|>", ""), "does not end an assistant's turn"),
        (
            ("{{ m.role }}", "{{ raise_exception('no tools') if m.role == 'tool' else m.role }}"),
            r"refuses it \(no tools\)",
        ),
    ],
)
def test_a_template_that_changes_the_content_is_refused(change: tuple[str, str], fault: str) -> None:
    """Templates that drop earlier reasoning would train on what the model never reads."""
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = CHAT_TEMPLATE.replace(*change)
    with pytest.raises(DataError, match=fault) as excinfo:
        render_turns(tokenizer, PROMPT, TALK, "row 3")
    assert "\n" not in str(excinfo.value)


def test_the_text_after_the_generation_prompt_is_learned() -> None:
    """Its "think", the words, a line's end, the end of the turn: sampled, the model must write them all."""
    tokenizer = byte_tokenizer(chat=True)
    around = "{{ 'think: ' if m.role == 'assistant' }}{{ m.content }}{{ '\\n' }}<|im_end|>"
    tokenizer.chat_template = CHAT_TEMPLATE.replace("{{ m.content }}<|im_end|>", around)
    ids, mask = render_turns(tokenizer, PROMPT, [Message("assistant", "a film")])
    assert tokenizer.decode(ids) == "think: a film\n<|im_end|>"
    assert all(mask)


def test_white_space_that_a_template_strips_is_stripped(chat_tokenizer: Any) -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = CHAT_TEMPLATE.replace("m.content", "m.content | trim")
    ids, _ = render_turns(tokenizer, PROMPT, [Message("assistant", " good\n")])
    assert ids == render_completion(tokenizer, "good", "")


def test_a_space_before_the_answer_belongs_to_its_first_token() -> None:
    """In "Assistant: good" the space and "good" are one token or more, as they are when tokenised apart."""
    plain = byte_tokenizer(chat=False)
    whole = plain("<s>Human: a\n\nAssistant: a good film</s>", add_special_tokens=False)["input_ids"]
    prompt = render_prompt(plain, Prompt("p", (Message("user", "a"),)))
    assert prompt + render_completion(plain, "a good film", "row 1") == whole


def test_ten_thousand_tokens(chat_tokenizer: Any) -> None:
    assert len(render_completion(chat_tokenizer, "电影" * 5_000, "row 1")) > 10_000
