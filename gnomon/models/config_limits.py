"""Limits on the sizes in a model folder's config.json, checked before the network is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from gnomon.core.boundary import first_line
from gnomon.core.errors import ModelError
from gnomon.core.ranges import Range

LAYERS = Range("a model has some layers, and building so many would take minutes", ge=1, le=10_000)
HEADS = Range("states are divided among the heads", ge=1, le=100_000)
WIDTH = Range("it is the size of a tensor", ge=1, le=10**7)
WORDS = Range("it is the size of a tensor", ge=1, le=10**8)
LIMITS = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_key_value_heads"), HEADS),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "head_dim", "intermediate_size"), WIDTH),
    "vocab_size": WORDS,
}
DEEPEST = 8  # configurations inside of configurations
WEIGHT = 4  # bytes


def check_config(folder: Path, name: str) -> None:
    """Refuse a folder whose config.json is no configuration, or has sizes that no network can have.

    Hub names, and folders without the file, pass: loading reports what is wrong with them.

    Raises:
        ModelError: with the key, its value and the reason.
    """
    path = folder / "config.json"
    if not path.is_file():
        return
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"model '{name}': config.json is no JSON ({first_line(error)}); copy it again."
        ) from None
    if not isinstance(content, dict):
        raise ModelError(f"model '{name}': config.json is no JSON object; copy it again.")
    if content.get("quantization_config"):
        raise ModelError(
            f"model '{name}' is quantized, and Gnomon computes with plain weights; give the unquantized model."
        )
    _check_sizes(content, f"model '{name}': config.json", 0)


def require_memory(bytes_needed: float, what: str) -> None:
    """Refuse tensors that cannot fit into this machine's memory, before their allocation brings it down.

    Args:
        bytes_needed: for the tensors alone.
        what: name of the tensors and advice, which end the sentence.

    Raises:
        ModelError: the machine has less memory in total.
    """
    total = psutil.virtual_memory().total
    if bytes_needed > total:
        raise ModelError(
            f"{bytes_needed / 1e9:,.0f} GB are needed, and this machine has {total / 1e9:,.0f}, for {what}."
        )


def _check_sizes(content: Mapping[str, Any], where: str, depth: int) -> None:
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < DEEPEST and key.endswith("_config"):
            _check_sizes(value, f"{where}: {key}", depth + 1)
        if (allowed := LIMITS.get(key)) is None or value is None or isinstance(value, list | dict):
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelError(f"{where}: {key} must be a whole number, not {str(value)[:40]!r}; copy it again.")
        if fault := allowed.fault(value):
            raise ModelError(f"{where}: {key} {fault}.")
    width = next((content[key] for key in ("hidden_size", "n_embd", "d_model") if content.get(key)), 0)
    words = content.get("vocab_size") or 0
    if isinstance(width, int) and isinstance(words, int):
        what = f"an embedding of {words} tokens by {width} ({where}); copy it again"
        require_memory(WEIGHT * width * words, what)
