"""Key-value cache of rows of completions: each prompt once for all its rows, and each row's own tokens.

Rows of any length are side by side; they leave, and others take their slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache

KeysAndValues = Sequence[Tensor]  # of a layer
ROOM = 64  # own tokens per row for which memory is allocated at first


class Slots:
    """Keys and values `[slots, heads, tokens, d]` of each layer, written in place; grows by half when full.

    They are stored in `dtype`, even if a layer returns another (under autocast, float32 in part). Each slot
    starts at position 0. Entries beyond its length are left over from other rows, and a mask must hide them; they
    are zeros or finite numbers, never uninitialized memory, from which a NaN would pass through the mask.

    Attributes:
        stores: keys and values of each layer.
        lengths: tokens in each slot in use.
    """

    def __init__(self, dtype: torch.dtype, spare: int = 0) -> None:
        self.dtype = dtype
        self.spare = spare
        self.stores: list[list[Tensor]] = []
        self.lengths: list[int] = []

    @property
    def width(self) -> int:
        """Tokens in the longest slot."""
        return max(self.lengths, default=0)

    def shape(self, layers: Sequence[KeysAndValues]) -> None:
        """Allocate empty stores for keys and values of these shapes, once."""
        if not self.stores:
            self.stores = [
                [new.new_zeros(0, new.shape[1], 0, new.shape[3], dtype=self.dtype) for new in pair]
                for pair in layers
            ]

    def enter(self, layers: Sequence[KeysAndValues], lengths: Sequence[int]) -> None:
        """Fill the next free slots with each layer's keys and values `[len(lengths), heads, T, d]`."""
        self.shape(layers)
        first, count, width = len(self.lengths), len(self.lengths) + len(lengths), max(lengths)
        self.grow(count, width)
        for pair, new in zip(self.stores, layers, strict=True):
            for store, states in zip(pair, new, strict=True):
                store[first:count, :, :width] = states[:, :, :width]
        self.lengths += lengths

    def keep(self, slots: Sequence[int]) -> list[int]:
        """Keep these slots, moving the last ones into the gaps; returns the former slot of each."""
        count, staying = len(slots), set(slots)
        gaps = [slot for slot in range(count) if slot not in staying]
        movers = [slot for slot in slots if slot >= count]
        for gap, mover in zip(gaps, movers, strict=True):
            for store in (store for pair in self.stores for store in pair):
                store[gap, :, : self.lengths[mover]] = store[mover, :, : self.lengths[mover]]
        order = list(range(count))
        for gap, mover in zip(gaps, movers, strict=True):
            order[gap] = mover
        self.lengths = [self.lengths[slot] for slot in order]
        return order

    def grow(self, slots: int, width: int) -> None:
        """Grow the stores to hold `slots` slots of `width` tokens."""
        before, _, capacity, _ = self.stores[0][0].shape
        if slots <= before and width <= capacity:
            return
        size = (max(slots, before), grown(capacity, width, self.spare))
        for pair in self.stores:
            for side, old in enumerate(pair):
                pair[side] = old.new_zeros(size[0], old.shape[1], size[1], old.shape[3])
                pair[side][:before, :, :capacity] = old

    def layer(self, number: int) -> tuple[Tensor, Tensor]:
        """Return views of a layer's keys and values, `[slots, heads, width, d]`."""
        keys, values = self.stores[number]
        count = len(self.lengths)
        return keys[:count, :, : self.width], values[:count, :, : self.width]


def grown(capacity: int, width: int, spare: int) -> int:
    """Compute the capacity of slots that must hold `width` tokens.

    Args:
        capacity: current capacity, in tokens.
        width: tokens that must fit.
        spare: tokens beyond `width` for which growing slots get memory at least.
    """
    return capacity if width <= capacity else max(width + spare, capacity * 3 // 2)


def own_capacity(tokens: int) -> int:
    """Compute the capacity of a `SlotCache`'s own slots after rows grew to `tokens`, one at a time."""
    capacity = 0
    while capacity < tokens:
        capacity = grown(capacity, capacity + 1, ROOM)
    return capacity


@dataclass(frozen=True)
class Sharing:
    """Mapping of rows to the prompts that they share.

    Attributes:
        rows: the rows of each prompt, padded with row 0 to the largest number R, `[P, R]`.
        back: index of each row in the flat `rows`, `[B]`.
        mask: visible tokens of each row's prompt, then its own, `[B, 1, 1, width + own width]` boolean.
    """

    rows: Tensor
    back: Tensor
    mask: Tensor


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """Cache of rows of completions; a prompt is held once for all its rows.

    A prompt is dropped with its last row, except for the prompts read last, on which more rows may enter.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(layers=[])
        self.prompts, self.own = Slots(dtype), Slots(dtype, spare=ROOM)
        self.prompt_of: list[int] = []  # slot of each row's prompt
        self.newest: list[int] = []  # slots of the prompts that were read last
        self.layer = 0  # the layer that was written last

    def read(self, layers: Sequence[KeysAndValues], lengths: Sequence[int]) -> None:
        """Set the newest prompts, on which rows may enter: keys and values `[P, heads, T, d]`."""
        self.newest = []
        self._drop_unused()
        first = len(self.prompts.lengths)
        self.prompts.enter(layers, lengths)
        self.newest = list(range(first, first + len(lengths)))
        self.own.shape(layers)

    def enter(self, prompts: Sequence[int]) -> None:
        """Add rows after the present ones, each on one of the newest prompts."""
        self.prompt_of += [self.newest[prompt] for prompt in prompts]
        self.own.lengths += [0] * len(prompts)
        self.own.grow(len(self.prompt_of), 0)

    def open(self, device: torch.device) -> Tensor:
        """Grow the rows by one token; returns the new tokens' positions `[B, 1]`."""
        self._positions = torch.tensor(self.own.lengths, device=device)
        self._rows = torch.arange(len(self.prompt_of), device=device)
        self.own.lengths = [length + 1 for length in self.own.lengths]
        self.own.grow(len(self.prompt_of), self.own.width)
        lengths = torch.tensor([self.prompts.lengths[p] for p in self.prompt_of], device=device)
        self.sharing = self._share(lengths, device)
        return (lengths + self._positions)[:, None]

    def _share(self, lengths: Tensor, device: torch.device) -> Sharing:
        """Compute the current sharing; `lengths` are those of the rows' prompts, `[B]`."""
        most = max(Counter(self.prompt_of).values())
        rows, back = [[0] * most for _ in self.prompts.lengths], list[int]()
        filled = Counter[int]()
        for row, prompt in enumerate(self.prompt_of):
            rows[prompt][filled[prompt]] = row
            back.append(prompt * most + filled[prompt])
            filled[prompt] += 1
        of_prompt = torch.arange(self.prompts.width, device=device) < lengths[:, None]
        own = torch.arange(self.own.width, device=device) <= self._positions[:, None]
        mask = torch.cat([of_prompt, own], dim=1)[:, None, None]
        return Sharing(torch.tensor(rows, device=device), torch.tensor(back, device=device), mask)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values; returns views of the rows' own, `[B, heads, T, d]`.

        Args:
            key_states: `[B, heads, 1, d]`.
            value_states: likewise.
            layer_idx: number of the layer.
        """
        for store, states in zip(self.own.stores[layer_idx], (key_states, value_states), strict=True):
            store[self._rows, :, self._positions] = states[:, :, 0].to(store.dtype)
        self.layer = layer_idx
        return self.own.layer(layer_idx)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former number of each remaining row, in the new order."""
        order = self.own.keep(rows)
        self.prompt_of = [self.prompt_of[row] for row in order]
        self._drop_unused()
        return order

    def _drop_unused(self) -> None:
        """Drop prompts without rows, except the newest."""
        staying = sorted({*self.prompt_of, *self.newest})
        if len(staying) < len(self.prompts.lengths):
            moved = {old: new for new, old in enumerate(self.prompts.keep(staying))}
            self.prompt_of = [moved[prompt] for prompt in self.prompt_of]
            self.newest = [moved[prompt] for prompt in self.newest]
