"""Tokens that end an answer and the padding token, consistent in all files of a saved model.

Programs that load the model read different files: transformers' `generate` the generation settings, vLLM these
and the tokenizer's eos, transformers' classifier the configuration's padding, batches of texts the tokenizer's.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from torch import nn
from transformers import GenerationConfig

from gnomon.data.templates.chat_template import turn_end
from gnomon.data.templates.tokenizer_compat import ADDED_PAD
from gnomon.models.library_patches import save_as_generation_config, save_padding_side

PROBE = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def end_ids(network: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the ids that end a turn: the template's, then those that the model lists, then the tokenizer's eos.

    Of the model's list only special tokens count: a configuration that was never adapted to its tokenizer lists
    others. If `network` is `None`, only the tokenizer's ids count.
    """
    special = _special_ids(tokenizer)
    listed = [] if network is None else _listed_ends(network)
    rows = None if network is None else network.get_input_embeddings().weight.shape[0]
    ends = [i for i in (*listed, tokenizer.eos_token_id) if i in special and (rows is None or i < rows)]
    return tuple(dict.fromkeys([turn_end(tokenizer), *ends]))


def _listed_ends(network: Any) -> list[Any]:
    """Return the end ids in a model's generation settings, or else in its configuration."""
    listed = getattr(getattr(network, "generation_config", None), "eos_token_id", None)
    if listed is None:
        listed = network.config.get_text_config().eos_token_id
    return list(listed) if isinstance(listed, Sequence) else [listed]


@contextmanager
def with_end_tokens(network: Any, tokenizer: Any, kind: Literal["policy", "scorer"]) -> Iterator[Any]:
    """Context manager: set the end and padding ids of `network` for other programs; yields such a tokenizer.

    A policy is padded on the left, as `generate` needs. A scorer is padded on the right and with a token that
    ends no text: transformers' classifier reads the last token that is not padding.

    Args:
        network: its configurations are changed, and restored afterwards.
        tokenizer: of the model; a copy is changed.
        kind: a policy, or a reward model or critic.
    """
    tokenizer, ends = copy.deepcopy(tokenizer), end_ids(network, tokenizer)
    rows = network.get_input_embeddings().weight.shape[0]
    _name_end(tokenizer, ends[0])
    pad = tokenizer.pad_token_id if kind == "policy" else None
    if pad is None or pad >= rows:
        pad = _padding_id(tokenizer, ends, rows)
    if pad is None:
        pad = ends[0] if kind == "policy" else _add_padding(tokenizer)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    save_padding_side(tokenizer, "left" if kind == "policy" else "right")
    with _configured(network, ends, pad), _grown(network, max(rows, pad + 1)):
        yield tokenizer


def _special_ids(tokenizer: Any) -> set[int]:
    return set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)


def _name_end(tokenizer: Any, end: int) -> None:
    """Set the tokenizer's eos to the end of a turn, unless its template writes eos elsewhere too."""
    eos, before = tokenizer.eos_token, _probe(tokenizer)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    if _probe(tokenizer) != before:
        tokenizer.eos_token = eos


def _probe(tokenizer: Any) -> list[str]:
    cases = ((PROBE, False), (PROBE[:1], True))
    return [tokenizer.apply_chat_template(m, tokenize=False, add_generation_prompt=g) for m, g in cases]


def _padding_id(tokenizer: Any, ends: Collection[int], rows: int) -> int | None:
    """Return a special token that ends no text, preferably a padding token; `None` if there is none."""
    special = sorted(_special_ids(tokenizer))
    named = [i for i in special if "pad" in str(tokenizer.convert_ids_to_tokens(i)).lower()]
    candidates = [tokenizer.pad_token_id, *named, tokenizer.unk_token_id, tokenizer.bos_token_id, *special]
    return next((i for i in candidates if i is not None and i not in ends and i < rows), None)


def _add_padding(tokenizer: Any) -> int:
    """Add a padding token, for a tokenizer whose special tokens all end texts, such as GPT-2's only one."""
    tokenizer.add_special_tokens({"pad_token": ADDED_PAD})
    return int(tokenizer.pad_token_id)


@contextmanager
def _configured(network: Any, ends: Sequence[int], pad: int) -> Iterator[None]:
    """Context manager: set the end and padding ids in the configurations and, if any, the generation settings."""
    eos = ends[0] if len(ends) == 1 else list(ends)
    configs = {id(c): c for c in (network.config, network.config.get_text_config())}.values()
    before = [(c, getattr(c, "eos_token_id", None), getattr(c, "pad_token_id", None)) for c in configs]
    generation = getattr(network, "generation_config", None)
    try:
        for config in configs:
            config.eos_token_id, config.pad_token_id = eos, pad
        if generation is not None:
            network.generation_config = _generation(generation, eos, pad)
        yield
    finally:
        for config, old_eos, old_pad in before:
            config.eos_token_id, config.pad_token_id = old_eos, old_pad
        if generation is not None:
            network.generation_config = generation


def _generation(own: Any, eos: int | list[int], pad: int) -> Any:
    """Build generation settings with these ids; values that transformers refuses to save are fixed or omitted."""
    settings = copy.deepcopy(own)
    settings.eos_token_id, settings.pad_token_id = eos, pad
    save_as_generation_config(settings)
    for _ in range(2):
        try:
            settings.validate(strict=True)
            return settings
        except ValueError:
            settings.do_sample = True  # a temperature beside do_sample: false, as in some published folders
    return GenerationConfig(bos_token_id=own.bos_token_id, eos_token_id=eos, pad_token_id=pad)


@contextmanager
def _grown(network: Any, rows: int) -> Iterator[None]:
    """Context manager: extend the embeddings to `rows` rows, the new ones zero; restores the old module."""
    own = network.get_input_embeddings()
    if rows <= own.weight.shape[0]:
        yield
        return
    config = network.config.get_text_config()
    size = config.vocab_size
    larger = nn.Embedding(rows, own.weight.shape[1], dtype=own.weight.dtype, device=own.weight.device)
    nn.init.zeros_(larger.weight)
    larger.weight.data[: len(own.weight)] = own.weight.data
    try:
        network.set_input_embeddings(larger)
        config.vocab_size = rows
        yield
    finally:
        network.set_input_embeddings(own)
        config.vocab_size = size
