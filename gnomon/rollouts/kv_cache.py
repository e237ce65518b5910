"""What rows of completions have read: keys and values in place, and the trunk one token further.

`SlotDecoder` keeps each row in a slot of tensors that are written in place, so rows of any length stand side by
side, leave, and give way to others. `PaddedDecoder` is for models whose own cache has other layers than full
attention (sliding windows, recurrent states): its rows enter together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from gnomon.models import branches
from gnomon.models.forward import autocast, can_pack
from gnomon.models.policy import Policy
from gnomon.rollouts.one_token import one_token

Ids = tuple[int, ...]
ROOM = 64  # tokens that a cache has room for beyond its first prompts, before it has to grow


class Decoder(Protocol):
    """Rows that have read a prompt and part of a completion.

    Attributes:
        joins: whether rows may enter while others are there.
    """

    joins: bool

    def enter(self, prompts: Sequence[Ids]) -> Tensor:
        """Rows for `prompts` behind those that are there; the state that predicts their first token, `[B, d]`."""

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token in every row; the state that predicts the next, `[B, d]`."""

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let go of all other rows; returns which row stands in each place afterwards."""


def decoder_for(policy: Policy) -> Decoder:
    """The decoder that the architecture allows."""
    config = policy.network.config
    in_slots = can_pack(config) and config._attn_implementation in branches.PLAIN
    return SlotDecoder(policy) if in_slots else PaddedDecoder(policy)


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """Keys and values `[slots, heads, tokens, d]` of each layer, written in place; grows by half when full.

    They are held in `dtype`, whatever a layer says them in: under autocast that is float32 in part. Every row
    starts at its slot's first place. What is beyond a row's length was left by others and is for the attention
    mask to hide; it is zeros or finite numbers, never uninitialised memory, in which a NaN would pass through the
    mask.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(layers=[])
        self.dtype = dtype
        self.stores: list[list[Tensor]] = []  # of each layer: keys, values
        self.lengths: list[int] = []  # tokens in each row

    def enter(self, layers: Sequence[Sequence[Tensor]], source: Sequence[int], lengths: Sequence[int]) -> None:
        """Rows behind those that are there: copies of the rows `source` of each layer's keys and values."""
        first, rows = len(self.lengths), len(self.lengths) + len(source)
        if not self.stores:
            self.stores = [
                [new.new_zeros(0, new.shape[1], 0, new.shape[3], dtype=self.dtype) for new in pair]
                for pair in layers
            ]
        width = layers[0][0].shape[2]
        self._grow(rows, width)
        index = torch.tensor(source, dtype=torch.long, device=layers[0][0].device)
        for pair, new in zip(self.stores, layers, strict=True):
            for store, states in zip(pair, new, strict=True):
                store[first:rows, :, :width] = states[index]
        self.lengths += lengths

    def open(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Make room for one more token in each row; returns positions `[B, 1]` and mask `[B, 1, 1, tokens]`."""
        self._width = max(self.lengths) + 1
        self._grow(len(self.lengths), self._width)
        self._rows = torch.arange(len(self.lengths), device=device)
        self._places = torch.tensor(self.lengths, device=device)
        self.lengths = [length + 1 for length in self.lengths]
        mask = torch.arange(self._width, device=device) <= self._places[:, None]
        return self._places[:, None], mask[:, None, None]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values `[B, heads, 1, d]`; returns views of all, `[B, heads, tokens, d]`."""
        keys, values = self.stores[layer_idx]
        keys[self._rows, :, self._places] = key_states[:, :, 0].to(self.dtype)
        values[self._rows, :, self._places] = value_states[:, :, 0].to(self.dtype)
        rows = len(self.lengths)
        return keys[:rows, :, : self._width], values[:rows, :, : self._width]

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Close the gaps that other rows leave by moving the last rows into them; returns who stands where."""
        count, staying = len(rows), set(rows)
        gaps = [place for place in range(count) if place not in staying]
        movers = [row for row in rows if row >= count]
        for gap, mover in zip(gaps, movers, strict=True):
            for store in (store for pair in self.stores for store in pair):
                store[gap, :, : self.lengths[mover]] = store[mover, :, : self.lengths[mover]]
        order = list(range(count))
        for gap, mover in zip(gaps, movers, strict=True):
            order[gap] = mover
        self.lengths = [self.lengths[row] for row in order]
        return order

    def _grow(self, rows: int, width: int) -> None:
        slots, _, room, _ = self.stores[0][0].shape
        if rows <= slots and width <= room:
            return
        size = (max(rows, slots), room if width <= room else max(width + ROOM, room * 3 // 2))
        for pair in self.stores:
            for place, old in enumerate(pair):
                pair[place] = old.new_zeros(size[0], old.shape[1], size[1], old.shape[3])
                pair[place][:slots, :, :room] = old


@dataclass(frozen=True)
class _Read:
    """Prompts that were read together: each one's row, their keys and values, and their last states `[P, d]`."""

    place: dict[Ids, int]
    layers: list[tuple[Tensor, Tensor]]
    states: Tensor


class SlotDecoder:
    """Rows in the slots of a `SlotCache`.

    A prompt is read once for its completions, which enter one after another, and what the prompts of a batch have
    in common at their start (a chat template's system turn) once for all of them.
    """

    joins = True

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.cache = SlotCache(policy.compute.dtype)
        self._read = _Read({}, [], torch.empty(0))

    def enter(self, prompts: Sequence[Ids]) -> Tensor:
        """Rows for `prompts` behind those that are there; the state that predicts their first token, `[B, d]`."""
        known = list(takewhile(self._read.place.__contains__, prompts))
        states = [self._share(known)] if known else []
        if fresh := prompts[len(known) :]:
            self._read = self._prefill(list(dict.fromkeys(fresh)))
            states.append(self._share(fresh))
        return torch.cat(states)

    def _share(self, prompts: Sequence[Ids]) -> Tensor:
        source = [self._read.place[prompt] for prompt in prompts]
        self.cache.enter(self._read.layers, source, [len(prompt) for prompt in prompts])
        return self._read.states[source]

    def _prefill(self, prompts: Sequence[Ids]) -> _Read:
        """Read prompts padded on the right, where no token of theirs can see the padding."""
        lengths = [len(prompt) for prompt in prompts]
        ids = torch.tensor([[*p, *[0] * (max(lengths) - len(p))] for p in prompts], device=self.policy.device)
        common = shared_start(prompts) if len(prompts) > 1 else 0
        cache = DynamicCache(config=self.policy.network.config)
        if common:
            run_trunk(self.policy, ids[:1, :common], cache)
            cache.batch_repeat_interleave(len(prompts))
        hidden = run_trunk(self.policy, ids[:, common:], cache)
        states = hidden[range(len(prompts)), [length - common - 1 for length in lengths]]
        layers = [(layer.keys, layer.values) for layer in cache.layers]
        return _Read({prompt: i for i, prompt in enumerate(prompts)}, layers, states)

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token in every row; the state that predicts the next, `[B, d]`."""
        device = self.policy.device
        positions, mask = self.cache.open(device)
        ids = torch.tensor(tokens, device=device)[:, None]
        with one_token(self.policy):
            return run_trunk(self.policy, ids, self.cache, attention_mask=mask, position_ids=positions)[:, 0]

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let go of all other rows; returns which row stands in each place afterwards."""
        return self.cache.keep(rows)


class PaddedDecoder:
    """Rows in the cache that transformers makes for the model, prompts padded on the left."""

    joins = False

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def enter(self, prompts: Sequence[Ids]) -> Tensor:
        """Rows for `prompts` in place of those that were there; the state that predicts their first token."""
        device, unique = self.policy.device, list(dict.fromkeys(prompts))
        width = max(map(len, unique))
        ids = torch.tensor([[*[0] * (width - len(p)), *p] for p in unique], device=device)
        mask = torch.tensor([[*[0] * (width - len(p)), *[1] * len(p)] for p in unique], device=device)
        self.cache = DynamicCache(config=self.policy.network.config)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        hidden = run_trunk(self.policy, ids, self.cache, attention_mask=mask, position_ids=positions)[:, -1]
        source = torch.tensor([unique.index(prompt) for prompt in prompts], device=device)
        self.cache.batch_select_indices(source)
        self.mask = mask[source]
        return hidden[source]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token in every row; the state that predicts the next, `[B, d]`."""
        ids = torch.tensor(tokens, device=self.policy.device)[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        positions = self.mask.sum(1, keepdim=True) - 1
        return run_trunk(self.policy, ids, self.cache, attention_mask=self.mask, position_ids=positions)[:, -1]

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let go of all other rows; returns which row stands in each place afterwards."""
        index = torch.tensor(rows, dtype=torch.long, device=self.policy.device)
        self.cache.batch_select_indices(index)
        self.mask = self.mask[index]
        return list(rows)


def shared_start(prompts: Sequence[Ids]) -> int:
    """How many ids all prompts have in common at their start, but for at least one of each."""
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    return sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, columns))


def run_trunk(policy: Policy, ids: Tensor, cache: Cache, **layout: Tensor) -> Tensor:
    """Hidden states of `ids` `[B, T]` after what `cache` holds, `[B, T, d]`; the cache then holds them too."""
    with autocast(policy.device, policy.compute.dtype):
        found: Tensor = policy.trunk(
            input_ids=ids, past_key_values=cache, use_cache=True, **layout
        ).last_hidden_state
    return found
