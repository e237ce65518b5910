"""Attention over a tree of texts in one row: each piece asks the path to it and itself, and no more is computed.

A mask over whole rows has every token ask every other one, to forget most of the answers: for a prompt with two
answers half of the arithmetic, for several prompts in a row most of it. The kernels that skip what is masked know
of one future only, not of branches, and on a CPU their way back is many products too small to be worth a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from gnomon.models.layout import Piece

NAME = "gnomon_branches"


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
    """Attention of `[1, H, T, d]` over keys and values `[1, heads, T, d]`, piece by piece.

    H is a multiple of heads (grouped queries, Ainslie et al. 2023). Returns `[1, T, H, d]`. Without pieces it is
    the kernel's own, under the mask that came.
    """
    if not pieces:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)  # type: ignore[no-any-return]
    heads, total, depth = key.shape[1:]
    scale = depth**-0.5 if scaling is None else scaling
    asking = query.to(value.dtype).reshape(heads, -1, total, depth)  # as autocast would have it
    found: Tensor = _Branched.apply(  # type: ignore[no-untyped-call]
        asking, key[0].to(value.dtype), value[0], pieces, scale
    )
    return found.flatten(0, 1).transpose(0, 1)[None].contiguous(), None


AttentionInterface.register(NAME, branched_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


class _Branched(torch.autograd.Function):
    """Softmax attention that keeps its normalisers only and finds the weights again on the way back.

    Queries are `[heads, G, T, d]`, keys and values `[heads, T, d]`. Scores are float32; products of weights and
    of gradients have the values' precision. Dao et al. 2022, "FlashAttention", algorithms 2 and 4.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, pieces: Sequence[Piece], scale: float
    ) -> Tensor:
        with torch.autocast(query.device.type, enabled=False):
            out = query.new_empty(*query.shape[:-1], value.shape[-1])
            normaliser = query.new_empty(query.shape[:-1], dtype=torch.float32)
            for piece, asks in _asking(pieces):
                scores = _scores(query[:, :, asks], _of(key, piece), piece, scale)
                largest = scores.amax(dim=-1, keepdim=True)
                weights = scores.sub_(largest).exp_()
                total = weights.sum(dim=-1, keepdim=True)
                normaliser[:, :, asks] = _ungrouped(largest + total.log(), query).squeeze(-1)
                said = torch.bmm(weights.div_(total).to(value.dtype), _of(value, piece))
                out[:, :, asks] = _ungrouped(said, query)
        ctx.save_for_backward(query, key, value, out, normaliser)
        ctx.pieces, ctx.scale = pieces, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, out, normaliser = ctx.saved_tensors
        (grad,) = grads
        with torch.autocast(query.device.type, enabled=False):
            to_query, to_key, to_value = (torch.zeros_like(t, dtype=torch.float32) for t in (query, key, value))
            mean = (grad.float() * out.float()).sum(dim=-1)  # of the weights' gradients under the weights
            for piece, asks in _asking(ctx.pieces):
                keys, values = _of(key, piece), _of(value, piece)
                scores = _scores(query[:, :, asks], keys, piece, ctx.scale)
                weights = scores.sub_(_grouped(normaliser[:, :, asks, None])).exp_()
                wanted = _grouped(grad[:, :, asks])
                change = torch.bmm(wanted, values.mT).float().sub_(_grouped(mean[:, :, asks, None]))
                change = change.mul_(weights).mul_(ctx.scale).to(key.dtype)
                to_query[:, :, asks] = _ungrouped(torch.bmm(change, keys), query)
                _add(to_key, piece, torch.bmm(change.mT, _grouped(query[:, :, asks])))
                _add(to_value, piece, torch.bmm(weights.to(value.dtype).mT, wanted))
        return to_query.to(query.dtype), to_key.to(key.dtype), to_value.to(value.dtype), None, None


def _asking(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, slice]]:
    """Each piece with the stretch of the row that it asks for."""
    start = 0
    for piece in pieces:
        yield piece, slice(start, piece.stop)
        start = piece.stop


def _grouped(of_heads: Tensor) -> Tensor:
    """The queries that share a head of keys, one after the other: `[heads, G, m, x] -> [heads, G·m, x]`."""
    return of_heads.flatten(1, 2)


def _ungrouped(rows: Tensor, query: Tensor) -> Tensor:
    return rows.view(rows.shape[0], query.shape[1], -1, rows.shape[-1])


def _of(whole: Tensor, piece: Piece) -> Tensor:
    """What a piece sees, `[heads, n, d]`."""
    parts = [whole[:, start:stop] for start, stop in piece.seen]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _add(whole: Tensor, piece: Piece, found: Tensor) -> None:
    """Undo `_of`: add to the stretches that a piece sees."""
    at = 0
    for start, stop in piece.seen:
        whole[:, start:stop] += found[:, at : at + stop - start]
        at += stop - start


def _scores(asking: Tensor, keys: Tensor, piece: Piece, scale: float) -> Tensor:
    """What a piece's queries say to what it sees, hidden where they may not look: `[heads, G·m, n]`, float32."""
    scores = torch.bmm(_grouped(asking.float() * scale), keys.float().mT)
    own = _ungrouped(scores, asking)[..., -piece.hidden.shape[1] :]
    own.masked_fill_(piece.hidden, -torch.inf)
    return scores
