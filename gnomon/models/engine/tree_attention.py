"""Attention over a tree of texts in one row: each piece attends to its path and itself, and no more is computed.

With a mask over whole rows, most of the computed scores are discarded: half of them for a prompt with two
completions, more for several prompts in a row. Kernels that skip masked blocks support a causal mask only, not
branches, and their backward pass on a CPU is many products too small to be worth a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from gnomon.models.engine.sequence_layout import Piece

NAME = "gnomon_branches"
PLAIN = ("sdpa", NAME)  # implementations that are the plain kernel in a pass without pieces


def branched_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    pieces: Sequence[Piece] = (),
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention piece by piece; without pieces, call the plain kernel with the mask.

    H is a multiple of heads (grouped queries, Ainslie et al. 2023).

    Args:
        module: the attention layer.
        query: `[1, H, T, d]`.
        key: `[1, heads, T, d]`.
        value: `[1, heads, T, d]`.
        attention_mask: for the plain kernel.
        scaling: of the scores; by default `d**-0.5`.
        pieces: of the row.
        kwargs: for the plain kernel.

    Returns:
        `[1, T, H, d]`, and no weights.
    """
    if not pieces:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)  # type: ignore[no-any-return]
    heads, total, depth = key.shape[1:]
    scale = depth**-0.5 if scaling is None else scaling
    grouped = query.view(heads, -1, total, depth).transpose(1, 2)  # [heads, T, G, d]
    queries, key, value = (t.to(value.dtype) for t in (grouped.flatten(1, 2), key[0], value[0]))
    output: Tensor = _Branched.apply(queries, key, value, pieces, scale)  # type: ignore[no-untyped-call]
    return output.view(heads, total, -1, value.shape[-1]).transpose(0, 1).flatten(1, 2)[None], None


AttentionInterface.register(NAME, branched_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


class _Branched(torch.autograd.Function):
    """Softmax attention that saves only its normalizers, and recomputes the weights in the backward pass.

    Queries are `[heads, T·G, d]`, the G that share a head of keys side by side; keys and values `[heads, T, d]`.
    Scores are float32; products of weights and of gradients have the values' precision. Dao et al. 2022,
    "FlashAttention", algorithms 2 and 4.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, pieces: Sequence[Piece], scale: float
    ) -> Tensor:
        with torch.autocast(query.device.type, enabled=False):
            out = query.new_empty(*query.shape[:2], value.shape[-1])
            log_normalizer = query.new_empty(*query.shape[:2], 1, dtype=torch.float32)
            scaled, known = query.float() * scale, key.float()
            for piece, rows in _query_slices(pieces, query.shape[1] // key.shape[1]):
                scores = _scores(scaled[:, rows], _of(known, piece), piece)
                largest = scores.amax(dim=-1, keepdim=True)
                weights = scores.sub_(largest).exp_()
                total = weights.sum(dim=-1, keepdim=True)
                log_normalizer[:, rows] = largest + total.log()
                out[:, rows] = torch.bmm(weights.div_(total).to(value.dtype), _of(value, piece))
        ctx.save_for_backward(query, key, value, out, log_normalizer)
        ctx.pieces, ctx.scale = pieces, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, out, log_normalizer = ctx.saved_tensors
        (grad,) = grads
        with torch.autocast(query.device.type, enabled=False):
            to_query = torch.empty_like(query)
            to_key, to_value = (torch.zeros_like(t, dtype=torch.float32) for t in (key, value))
            scaled, known = query.float() * ctx.scale, key.float()
            mean = (grad.float() * out.float()).sum(dim=-1, keepdim=True)  # of gradients, under the weights
            for piece, rows in _query_slices(ctx.pieces, query.shape[1] // key.shape[1]):
                scores = _scores(scaled[:, rows], _of(known, piece), piece)
                weights = scores.sub_(log_normalizer[:, rows]).exp_()
                change = torch.bmm(grad[:, rows], _of(value, piece).mT).float().sub_(mean[:, rows])
                change = change.mul_(weights).to(key.dtype)
                to_query[:, rows] = torch.bmm(change, _of(key, piece))
                _add(to_key, piece, torch.bmm(change.mT, query[:, rows]))
                _add(to_value, piece, torch.bmm(weights.to(value.dtype).mT, grad[:, rows]))
        return to_query * ctx.scale, (to_key * ctx.scale).to(key.dtype), to_value.to(value.dtype), None, None


def _query_slices(pieces: Sequence[Piece], sharing: int) -> Iterator[tuple[Piece, slice]]:
    """Yield each piece with the slice of its queries, `sharing` of them for each token."""
    start = 0
    for piece in pieces:
        yield piece, slice(start * sharing, piece.stop * sharing)
        start = piece.stop


def _of(whole: Tensor, piece: Piece) -> Tensor:
    """Select the keys or values that a piece attends to, `[heads, T, d] -> [heads, n, d]`."""
    parts = [whole[:, start:stop] for start, stop in piece.seen]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _add(whole: Tensor, piece: Piece, part: Tensor) -> None:
    """Add gradients of `_of`'s selection, `[heads, n, d]`, to those of the whole, `[heads, T, d]`."""
    at = 0
    for start, stop in piece.seen:
        whole[:, start:stop] += part[:, at : at + stop - start]
        at += stop - start


def _scores(queries: Tensor, keys: Tensor, piece: Piece) -> Tensor:
    """Compute masked scores of a piece's queries and the keys that it attends to, `[heads, m·G, n]`."""
    scores = torch.bmm(queries, keys.mT)
    tokens, last = piece.hidden.shape
    by_token = scores.view(len(scores), tokens, -1, scores.shape[-1])  # [heads, m, G, n]
    by_token[..., scores.shape[-1] - last :].masked_fill_(piece.hidden[:, None], -torch.inf)
    return scores
