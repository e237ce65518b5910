"""A tiny chat model with random weights, built on demand, for trying recipes in seconds and for tests.

Its tokenizer has one token for each byte, so it reads and writes any text in any language; its texts make no
sense before training, and little afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.lazy import torch, transformers

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class RandomModel:
    """A llama with random weights.

    Attributes:
        layers: decoder layers.
        width: of a hidden state; heads have width 8.
        context: number of positions.
        spread: standard deviation of the weights; ten times the usual, for outputs far from uniform.
        seed: of the weights. The state of the process's own generator does not change.
    """

    layers: int = 3
    width: int = 32
    context: int = 1024
    spread: float = 0.2
    seed: int = 0

    def write(self, folder: Path) -> None:
        """Write model and tokenizer as a plain `save_pretrained` folder, the same bytes each time."""
        tokenizer = byte_tokenizer()
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.width,
            intermediate_size=self.width * 3 // 2,
            num_hidden_layers=self.layers,
            num_attention_heads=self.width // 8,
            num_key_value_heads=self.width // 16,
            max_position_embeddings=self.context,
            initializer_range=self.spread,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
        # `torch.manual_seed` would seed the GPUs as well, which the fork does not restore.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            network = transformers.LlamaForCausalLM(config)
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def byte_tokenizer() -> Any:
    """Build a tokenizer with a token for each byte, and two that start and end a turn; the end also pads."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    special = [TURN_START, TURN_END]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(BPE(vocab={token: i for i, token in enumerate([*special, *alphabet])}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=TURN_START, eos_token=TURN_END, pad_token=TURN_END
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
