"""Attention of a single new token on a CPU: a few products over all rows at once.

The kernel that transformers asks for cuts the work into one product for each row and head. For one token these
are so small that a call costs more than its arithmetic: in bfloat16 six times the time of what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from gnomon.models.policy import Policy

NAME = "gnomon_one_token"


def one_token_attention(
    _module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What one query a row sees, in float32: `[B, H, 1, d]` over keys and values `[B, heads, T, d]`.

    H is a multiple of heads (grouped queries, Ainslie et al. 2023); the mask is boolean, `[B, 1, 1, T]`. Returns
    `[B, 1, H, d]`.
    """
    rows, heads = query.shape[:2]
    with torch.autocast(query.device.type, enabled=False):
        grouped = query.float().view(rows, key.shape[1], -1, query.shape[-1])  # [B, heads, H / heads, d]
        scale = grouped.shape[-1] ** -0.5 if scaling is None else scaling
        scores = torch.matmul(grouped * scale, key.float().mT).masked_fill_(~attention_mask, -torch.inf)
        seen = torch.matmul(scores.softmax(dim=-1), value.float())
    return seen.view(rows, 1, heads, -1), None


AttentionInterface.register(NAME, one_token_attention)


@contextmanager
def one_token(policy: Policy) -> Iterator[None]:
    """Inside, the policy's trunk reads one token a row, under a mask of our own; on a GPU nothing changes."""
    config = policy.network.config
    before = config._attn_implementation
    if policy.device.type == "cpu":
        config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
