"""Attention of a single new token in every row: over its prompt, which all rows on it ask at once, and its own.

The kernel that transformers asks for wants keys and values of whole texts, a prompt's once for each of its
completions, and on a CPU cuts the work into a product for each row and head. For one token those are so small
that a call costs more than its arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from gnomon.models.roles import Policy
from gnomon.rollouts.kv_cache import Sharing, SlotCache

NAME = "gnomon_one_token"
_reading: ContextVar[SlotCache] = ContextVar("_reading")


def one_token_attention(
    _module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What one query a row sees, in float32: `[B, H, 1, d]` over the row's prompt and its own `[B, heads, T, d]`.

    H is a multiple of heads (grouped queries, Ainslie et al. 2023). A prompt's keys and values meet the queries
    of all its rows in one product (Juravsky et al. 2024, "Hydragen", section 3.1), and one softmax spans both
    parts. Returns `[B, 1, H, d]`.
    """
    cache = _reading.get()
    sharing, rows = cache.sharing, query.shape[0]
    with torch.autocast(query.device.type, enabled=False):
        prompt_key, prompt_value, key, value = (
            t.float() for t in (*cache.prompts.layer(cache.layer), key, value)
        )
        grouped = query.float().view(rows, key.shape[1], -1, query.shape[-1])  # [B, heads, G, d]
        grouped = grouped * (grouped.shape[-1] ** -0.5 if scaling is None else scaling)
        of_prompt = _at_prompts(grouped, prompt_key.mT, sharing)
        scores = torch.cat([of_prompt, torch.matmul(grouped, key.mT)], dim=-1)
        weights = scores.masked_fill_(~sharing.mask, -torch.inf).softmax(dim=-1)
        width = prompt_key.shape[2]
        seen = _at_prompts(weights[..., :width], prompt_value, sharing)
        seen = seen + torch.matmul(weights[..., width:], value)
    return seen.view(rows, 1, query.shape[1], -1), None


def _at_prompts(of_rows: Tensor, of_prompts: Tensor, sharing: Sharing) -> Tensor:
    """Each row's `[B, heads, G, n]` times what its prompt has, `[P, heads, n, m]`: `[B, heads, G, m]`."""
    prompts, most = sharing.place.shape
    heads, group, n = of_rows.shape[1:]
    gathered = of_rows[sharing.place.flatten()].view(prompts, most, heads, group, n).transpose(1, 2)
    found = torch.matmul(gathered.reshape(prompts, heads, most * group, n), of_prompts)
    return found.view(prompts, heads, most, group, -1).transpose(1, 2).flatten(0, 1)[sharing.back]


AttentionInterface.register(NAME, one_token_attention)


@contextmanager
def one_token(policy: Policy, cache: SlotCache) -> Iterator[None]:
    """Inside, the policy's trunk reads one token a row, after what `cache` holds."""
    config: Any = policy.trunk.config
    before, token = config._attn_implementation, _reading.set(cache)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _reading.reset(token)
