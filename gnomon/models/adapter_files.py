"""PEFT adapters as users bring them: adapter_config.json in a folder, merged into the model they stand on."""

from __future__ import annotations

import json
from typing import Any

from safetensors.torch import load_file
from transformers.utils import cached_file

from gnomon.core.errors import ModelError
from gnomon.core.lazy import peft
from gnomon.models.quiet import quiet_peft

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"


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
    with quiet_peft():
        wrapped = peft.PeftModel(network, config)
    adapted = set(peft.get_peft_model_state_dict(wrapped))
    try:
        peft.set_peft_model_state_dict(wrapped, weights)
        fits = adapted <= set(weights) and (partly or set(weights) <= adapted)
    except RuntimeError:  # shapes differ
        fits = False
    if not fits:
        raise ModelError(
            f"adapter '{source}' does not fit the model that it stands on; name the right one in it."
        )
    wrapped.merge_and_unload()
    network.requires_grad_(False)
    prefix = "base_model.model."
    return {key.removeprefix(prefix) for key in weights if key.removeprefix(prefix) in network.state_dict()}
