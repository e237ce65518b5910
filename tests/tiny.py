"""Models, tokenizers and token groups small enough to reason about: what the numerical tests are made of."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    PreTrainedTokenizerFast,
)

from gnomon.core.batches import TokenGroups
from gnomon.core.types import Message, Prompt
from gnomon.data.templates.chat_template import PLAIN_TEMPLATE
from gnomon.data.templates.rendering import render_turns
from gnomon.models.adapters import make_trainable
from gnomon.models.engine.device import Compute
from gnomon.models.roles import Critic, Model, Policy, RewardModel
from gnomon.models.settings import FROZEN, Trainable
from gnomon.models.tiny_random import CHAT_TEMPLATE as CHAT_TEMPLATE

CPU = Compute(torch.device("cpu"), torch.float32)
WORDS = ["<end>", "<unk>", "Human", "Assistant", ":", "a", "b", "c"]


def config_of(kind: str, vocab: int, layers: int, **changes: Any) -> Any:
    """A tiny configuration; weights are large enough that a model has opinions."""
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": layers, "n_head": 4, "n_positions": 128}
        return GPT2Config(vocab_size=vocab, initializer_range=0.2, bos_token_id=0, eos_token_id=0, **sizes)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    return CONFIG_MAPPING[kind](vocab_size=vocab, **{**shape, **changes})


def tiny_network(kind: str = "llama", *, vocab: int = 61, layers: int = 2, seed: int = 0, **changes: Any) -> Any:
    """A causal language model with random weights."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config_of(kind, vocab, layers, **changes)).eval()


def tiny_scorer(*, vocab: int = 61, layers: int = 2, seed: int = 0) -> Any:
    """The same with a scalar head instead of a vocabulary."""
    torch.manual_seed(seed)
    config = config_of("llama", vocab, layers, num_labels=1)
    return AutoModelForSequenceClassification.from_config(config).eval()


def tiny_policy(tokenizer: Any = None, trainable: Trainable = FROZEN, **network: Any) -> Policy:
    """A policy around `tiny_network`; its vocabulary is the tokenizer's where there is one."""
    if tokenizer is not None:
        network.setdefault("vocab", len(tokenizer))
    found = tiny_network(**network)
    return Policy(found, tokenizer, CPU, make_trainable(found, trainable))


def tiny_reward_model(tokenizer: Any = None, trainable: Trainable = FROZEN, **network: Any) -> RewardModel:
    """A reward model around `tiny_scorer`; with `trainable` its head learns too."""
    if tokenizer is not None:
        network.setdefault("vocab", len(tokenizer))
    found = tiny_scorer(**network)
    adapter = make_trainable(found, trainable)
    found.score.requires_grad_(trainable != FROZEN)
    return RewardModel(found, tokenizer, CPU, adapter)


def tiny_critic(tokenizer: Any = None, trainable: Trainable = FROZEN, **network: Any) -> Critic:
    """A critic around `tiny_scorer` whose head always learns."""
    model = tiny_reward_model(tokenizer, trainable, **network)
    model.network.score.requires_grad_(True)
    return Critic(model.network, tokenizer, CPU, model.adapter)


def byte_tokenizer(*, chat: bool) -> Any:
    """Byte-level BPE that can write any text; with a chat template its padding is its end of turn."""
    special = ["<|im_start|>", "<|im_end|>"] if chat else ["<s>", "</s>"]
    inner = Tokenizer(BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(["a good film", "a very good film, very good"] * 4, trainer)
    found = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=special[0], eos_token=special[1], pad_token=special[1]
    )
    found.chat_template = CHAT_TEMPLATE if chat else PLAIN_TEMPLATE
    return found


def word_tokenizer() -> Any:
    """Eight words, so that the end of a completion is likely and distributions can be enumerated."""
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    found = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", pad_token="<end>", unk_token="<unk>"
    )
    found.chat_template = PLAIN_TEMPLATE
    return found


def render_completion(tokenizer: Any, text: str, where: str) -> list[int]:
    """Tokenize an answer of one turn to a fixed question, with the token that ends the turn."""
    question = Prompt("prompt", (Message("user", "gnomon"),))
    return render_turns(tokenizer, question, [Message("assistant", text)], where)[0]


def prompts_of(*texts: str) -> list[Prompt]:
    """One user's turn each."""
    return [Prompt(f"p{i}", (Message("user", text),)) for i, text in enumerate(texts)]


def ragged_groups(*, vocab: int = 61, seed: int = 0, masked: bool = False) -> TokenGroups:
    """Three prompts and six completions, every length different, groups interleaved.

    With `masked` the completion of six tokens has two in its middle that the policy did not choose.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(lengths: list[int]) -> list[list[int]]:
        return [torch.randint(0, vocab, (n,), generator=generator).tolist() for n in lengths]

    masks = [[True] * n for n in (4, 1, 6, 3, 2, 5)]
    if masked:
        masks[2] = [True, True, False, False, True, True]
    return TokenGroups.build(draw([5, 2, 7]), draw([len(m) for m in masks]), [0, 1, 0, 2, 1, 0], masks)


def naive_logprobs(network: Any, groups: TokenGroups, temperature: float = 1.0) -> list[Tensor]:
    """What transformers itself says of each sequence alone, unpadded; one tensor `[T_n]` a completion."""
    found = []
    for g, completion in zip(groups.group.tolist(), groups.completions, strict=True):
        ids = torch.cat([groups.prompts[g], completion])
        logprobs = (network(ids[None]).logits[0].float() / temperature).log_softmax(-1)
        found.append(logprobs[len(ids) - len(completion) - 1 : -1].gather(1, completion[:, None]).squeeze(1))
    return found


def rows_of(values: Tensor, groups: TokenGroups) -> list[Tensor]:
    """The entries of `[N, T]` that belong to each completion, without padding."""
    return [row[:length] for row, length in zip(values, groups.lengths.tolist(), strict=True)]


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of `loss` for each weight that learns; the weights' own `.grad` stays empty."""
    named = model.trainable()
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), found, strict=True)}


def shake(model: Model, by: float = 0.1) -> None:
    """Move every weight that learns: an adapter's zeros too, or half of its gradients would be zero."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(by * torch.randn_like(parameter))
