"""Whether ids of one tokenizer may be given to the model of another."""

from __future__ import annotations

from typing import Any

from tiny import byte_tokenizer

from gnomon.data.templates.tokenizer_compat import same_vocabulary


def test_vocabularies_are_equal_if_each_id_is_the_same_token(chat_tokenizer: Any, bare_tokenizer: Any) -> None:
    """These two differ in their two special tokens only."""
    assert len(chat_tokenizer) == len(bare_tokenizer)
    assert not same_vocabulary(chat_tokenizer, bare_tokenizer)
    assert same_vocabulary(chat_tokenizer, byte_tokenizer(chat=True))


def test_which_token_ends_a_turn_does_not_count(chat_tokenizer: Any) -> None:
    other = byte_tokenizer(chat=True)
    other.eos_token, other.pad_token, other.chat_template = "a", "a", "plain"
    assert same_vocabulary(chat_tokenizer, other)
