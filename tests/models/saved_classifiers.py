"""Reward models with random weights, as transformers itself saves them: decoders and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny import config_of
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification, PreTrainedTokenizerFast

QUESTIONS = ["review a film", "is it a good film or not", "why"]
ANSWERS = ["a very good film", "no", "good good good film film"]
HEADS = {0: "helpfulness", 1: "correctness", 2: "verbosity"}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 64, "query_pre_attn_scalar": 8},
    "mistral": {"sliding_window": None},
    "gpt_neox": {},
}
ENCODER_SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "initializer_range": 0.4, "pad_token_id": 1, "embedding_size": 32,
    "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4, "type_vocab_size": 2,
}  # fmt: skip


def saved_decoder(folder: Path, tokenizer: Any, kind: str = "llama", **changes: Any) -> str:
    """A classifier as transformers saves it; by default it has one output and no padding token."""
    changes = {"num_labels": 1} | changes
    torch.manual_seed(4)
    config = config_of(kind, len(tokenizer) + 8, 2, **{**KINDS[kind], **changes})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def pair_tokenizer() -> Any:
    """A tokenizer of words with BERT's form of a pair."""
    words = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *dict.fromkeys(" ".join(QUESTIONS + ANSWERS).split())]
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    names = {"cls_token": "[CLS]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, mask_token="[MASK]", **names)


def saved_encoder(folder: Path, kind: str = "bert", **changes: Any) -> str:
    tokenizer = pair_tokenizer()
    torch.manual_seed(4)
    sizes = {"num_labels": 1, **ENCODER_SIZES, **changes}
    config = CONFIG_MAPPING[kind](vocab_size=len(tokenizer), **sizes)
    network = AutoModelForSequenceClassification.from_config(config)
    last = getattr(network.classifier, "out_proj", network.classifier)
    nn.init.normal_(last.bias)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
