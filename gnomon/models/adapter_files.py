"""PEFT adapters as users bring them: adapter_config.json in a folder, merged into the model they stand on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from transformers.utils import cached_file

from gnomon.core.errors import ModelError
from gnomon.core.lazy import peft
from gnomon.models.adapters import separate_shared_weights
from gnomon.models.quiet import quiet_peft

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of a network's own names inside peft's wrapper


def adapter_base(source: str) -> str | None:
    """The name of the model that the adapter in a folder or on the hub stands on; `None` for a whole model."""
    file = cached_file(source, CONFIG_FILE, _raise_exceptions_for_missing_entries=False)
    if file is None:
        return None
    with open(file, encoding="utf-8") as text:
        base = json.load(text).get("base_model_name_or_path")
    if not base:
        raise ModelError(
            f"{file} does not say base_model_name_or_path; add the model that the adapter stands on."
        )
    return str(base)


def merge_adapter(network: Any, source: str, *, partly: bool) -> set[str]:
    """Add an adapter to the weights of `network`, in place; returns the names of weights that it brought whole.

    Args:
        network: the model that the adapter stands on.
        source: the adapter's folder, or its name on the hub.
        partly: whether the network may lack some of what was adapted, as a reward model lacks a vocabulary.

    Raises:
        ModelError: the adapter does not fit the network, or is of a kind that cannot be merged.
    """
    with quiet_peft():
        config = peft.PeftConfig.from_pretrained(source)
    if config.is_prompt_learning:
        raise ModelError(
            f"adapter '{source}' is of the kind {config.peft_type.value}, which cannot be merged; use LoRA."
        )
    weights = load_file(cached_file(source, WEIGHTS_FILE))
    brought = _grow_embeddings(network, weights, source)
    with quiet_peft():
        wrapped = peft.PeftModel(network, config)
    adapted = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    try:
        peft.set_peft_model_state_dict(wrapped, weights)
        fits = adapted <= set(weights) and (partly or set(weights) - brought <= adapted)
    except RuntimeError:  # shapes differ
        fits = False
    if not fits:
        raise ModelError(
            f"adapter '{source}' does not fit the model that it stands on; name the right one in it."
        )
    separate_shared_weights(wrapped)
    with quiet_peft():
        wrapped.merge_and_unload()
    network.requires_grad_(False)
    return {key.removeprefix(PREFIX) for key in weights if key.removeprefix(PREFIX) in network.state_dict()}


def _grow_embeddings(network: Any, weights: Mapping[str, Tensor], source: str) -> set[str]:
    """Keys of the embeddings that an adapter brings whole; `network` gets as many rows as they have.

    peft writes them beside the adapter where tokens were added, because the base model lacks their rows.

    Raises:
        ModelError: the adapter adds tokens, and lacks their rows of the input or of the output.
    """
    layers = [network.get_input_embeddings(), network.get_output_embeddings()]
    names = {name: module for name, module in network.named_modules() if any(module is one for one in layers)}
    parts = ("", ".base_layer", ".modules_to_save", ".original_module")
    brought = {
        name: {f"{PREFIX}{name}{part}.weight" for part in parts} & set(weights) for name in names
    }  # by layer
    keys = set().union(*brought.values())
    rows = max((len(weights[key]) for key in keys), default=0)
    if (added := rows - len(layers[0].weight)) > 0:
        held = [names[name].weight for name, found in brought.items() if found]
        if lacking := [n for n, m in names.items() if not any(m.weight is weight for weight in held)]:
            raise ModelError(
                f"adapter '{source}' adds {added} tokens, but holds no rows of {lacking[0]} for them; merge it "
                "where it was trained (merge_and_unload), and name the merged folder."
            )
        network.resize_token_embeddings(rows, mean_resizing=False)
    return keys
