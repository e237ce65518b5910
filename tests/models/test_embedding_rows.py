"""Tokens without an embedding are refused with both numbers, or get rows if these will be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CPU, tiny_network
from transformers import AutoModelForCausalLM, AutoTokenizer

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.loading import load_critic, load_policy, load_reward_model, save_model
from gnomon.models.settings import FROZEN, Trainable
from gnomon.models.tiny_random import byte_tokenizer

ALL = Trainable(adapter="none")
ROWS = len(byte_tokenizer())  # 258


def folder(path: Path, *, kind: str = "llama", fewer: int = 0, pad: bool = False, **network: Any) -> str:
    """A model whose tokenizer has two tokens more than it, or whose embeddings have `fewer` rows."""
    tokenizer = byte_tokenizer()
    tiny_network(kind, vocab=ROWS - fewer, **network).save_pretrained(path)
    if pad:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    elif not fewer:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("trainable", [FROZEN, Trainable(layers=1), Trainable(adapter="none", layers=1)])
@pytest.mark.parametrize("load", [load_policy, lambda *a: load_reward_model(*a, seed=0)])
def test_tokens_without_rows_are_refused_with_both_numbers(
    tmp_path: Path, load: Any, trainable: Trainable
) -> None:
    with pytest.raises(
        ModelError, match=f"has {ROWS + 2} tokens, but the embeddings have {ROWS} rows; train all"
    ):
        load(folder(tmp_path), CPU, trainable)


@pytest.mark.parametrize("trainable", [FROZEN, ALL])
def test_a_tokenizer_of_another_model_is_refused_always(tmp_path: Path, trainable: Trainable) -> None:
    with pytest.raises(ModelError, match=f"has {ROWS} tokens, but the embeddings have {ROWS - 3} rows; take the"):
        load_policy(folder(tmp_path, fewer=3), CPU, trainable)


@pytest.mark.parametrize(("kind", "tied"), [("llama", False), ("llama", True), ("gpt2", True)])
def test_new_tokens_get_the_mean_where_all_weights_are_trained(tmp_path: Path, kind: str, tied: bool) -> None:
    source = folder(tmp_path / "base", kind=kind, **({"tie_word_embeddings": tied} if kind == "llama" else {}))
    policy = load_policy(source, CPU, ALL)
    rows, head = policy.network.get_input_embeddings().weight, policy.network.get_output_embeddings().weight
    assert rows.shape[0] == head.shape[0] == policy.network.config.vocab_size == ROWS + 2
    assert (rows is head) == tied
    for weight in (rows, head):
        torch.testing.assert_close(weight[ROWS], weight[:ROWS].mean(0))
        assert torch.equal(weight[ROWS], weight[ROWS + 1])
    assert policy.logprobs(TokenGroups.build([[3, ROWS]], [[ROWS + 1, 4]], [0])).isfinite().all()
    save_model(policy, tmp_path / "model")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").config.vocab_size == ROWS + 2
    assert len(AutoTokenizer.from_pretrained(tmp_path / "model")) == ROWS + 2
    load_policy(str(tmp_path / "model"), CPU)


def test_judges_and_critics_grow_too(tmp_path: Path) -> None:
    source = folder(tmp_path / "base")
    judge = load_reward_model(source, CPU, ALL, seed=0)
    critic = load_critic(source, CPU, FROZEN, seed=0)
    for model in (judge, critic):
        assert len(model.network.get_input_embeddings().weight) == ROWS + 2


def test_a_token_that_only_pads_needs_no_row(tmp_path: Path) -> None:
    policy = load_policy(folder(tmp_path / "base", pad=True), CPU)
    assert len(policy.network.get_input_embeddings().weight) == ROWS
    save_model(policy, tmp_path / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "model").pad_token_id < ROWS
