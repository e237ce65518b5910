"""Attention of one new token per row: over its prompt, whose keys rows share, and over its completion.

The standard kernel needs keys and values of whole texts, a prompt's once for each of its completions, and on a
CPU splits the work into a product for each row and head. For one token those are so small that a call costs more
than its arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from gnomon.models.library_patches import use_attention
from gnomon.models.roles import Policy
from gnomon.rollouts.kv_cache import PromptSharing, SlotCache

NAME = "gnomon_one_token"
_active_cache: ContextVar[SlotCache] = ContextVar("_active_cache")


def one_token_attention(
    _module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of one query per row over the row's prompt and its completion, in float32.

    H is a multiple of heads (grouped queries, Ainslie et al. 2023). A prompt's keys and values are multiplied
    with the queries of all its rows in one product (Juravsky et al. 2024, "Hydragen", section 3.1), and one
    softmax spans both parts.

    Args:
        query: `[B, H, 1, d]`.
        key: of the completions, `[B, heads, T, d]`.
        value: likewise.
        scaling: of the scores; by default `d**-0.5`.

    Returns:
        `[B, 1, H, d]`, and no weights.
    """
    cache = _active_cache.get()
    sharing, rows = cache.sharing, query.shape[0]
    with torch.autocast(query.device.type, enabled=False):
        prompt_key, prompt_value, key, value = (
            t.float() for t in (*cache.prompts.layer(cache.current_layer), key, value)
        )
        grouped = query.float().view(rows, key.shape[1], -1, query.shape[-1])  # [B, heads, G, d]
        grouped = grouped * (grouped.shape[-1] ** -0.5 if scaling is None else scaling)
        prompt_scores = _matmul_prompts(grouped, prompt_key.mT, sharing)
        scores = torch.cat([prompt_scores, torch.matmul(grouped, key.mT)], dim=-1)
        weights = scores.masked_fill_(~sharing.mask, -torch.inf).softmax(dim=-1)
        width = prompt_key.shape[2]
        output = _matmul_prompts(weights[..., :width], prompt_value, sharing)
        output = output + torch.matmul(weights[..., width:], value)
    return output.view(rows, 1, query.shape[1], -1), None


def _matmul_prompts(of_rows: Tensor, of_prompts: Tensor, sharing: PromptSharing) -> Tensor:
    """Multiply each row's `[B, heads, G, n]` with its prompt's `[P, heads, n, m]`, `[B, heads, G, m]`."""
    prompts, most = sharing.rows.shape
    heads, group, n = of_rows.shape[1:]
    gathered = of_rows[sharing.rows.flatten()].view(prompts, most, heads, group, n).transpose(1, 2)
    products = torch.matmul(gathered.reshape(prompts, heads, most * group, n), of_prompts)
    return products.view(prompts, heads, most, group, -1).transpose(1, 2).flatten(0, 1)[sharing.flat_index]


AttentionInterface.register(NAME, one_token_attention)


@contextmanager
def decoding_with(policy: Policy, cache: SlotCache) -> Iterator[None]:
    """Context manager: a pass of the policy's trunk over one token per row attends to the tokens in `cache`."""
    token = _active_cache.set(cache)
    try:
        with use_attention(policy.trunk.config, NAME):
            yield
    finally:
        _active_cache.reset(token)
