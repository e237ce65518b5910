"""Key-value cache of a batch of completions: each prompt once for all its rows, and each row's completion.

Rows of any length are in one batch; when rows leave, others take their slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache

KeysAndValues = Sequence[Tensor]  # of a layer
SPARE_TOKENS = 64  # tokens beyond its length for which a completion's slot gets memory


class Slots:
    """Keys and values `[slots, heads, tokens, d]` of each layer, written in place; grows by half when full.

    They are stored in `dtype`, even if a layer returns another (under autocast, float32 in part). Each slot
    starts at position 0. Entries beyond its length are left over from other rows, and a mask must hide them; they
    are zeros or finite numbers, never uninitialized memory, from which a NaN would pass through the mask.

    Attributes:
        buffers: keys and values of each layer.
        lengths: tokens in each slot in use.
        spare: tokens beyond its length for which a slot gets memory.
    """

    def __init__(self, dtype: torch.dtype, spare: int = 0) -> None:
        self.dtype = dtype
        self.spare = spare
        self.buffers: list[list[Tensor]] = []
        self.lengths: list[int] = []

    @property
    def width(self) -> int:
        """Tokens in the longest slot."""
        return max(self.lengths, default=0)

    def allocate(self, layers: Sequence[KeysAndValues]) -> None:
        """Allocate empty buffers for keys and values of these shapes, once."""
        if not self.buffers:
            self.buffers = [
                [new.new_zeros(0, new.shape[1], 0, new.shape[3], dtype=self.dtype) for new in pair]
                for pair in layers
            ]

    def append(self, layers: Sequence[KeysAndValues], lengths: Sequence[int]) -> None:
        """Fill the next free slots with each layer's keys and values `[len(lengths), heads, T, d]`."""
        self.allocate(layers)
        start, end, width = len(self.lengths), len(self.lengths) + len(lengths), max(lengths)
        self.grow(end, width)
        for pair, new in zip(self.buffers, layers, strict=True):
            for buffer, states in zip(pair, new, strict=True):
                buffer[start:end, :, :width] = states[:, :, :width]
        self.lengths += lengths

    def keep(self, slots: Sequence[int]) -> list[int]:
        """Keep these slots, moving the last ones into the gaps; returns the former slot of each."""
        count, remaining = len(slots), set(slots)
        gaps = [slot for slot in range(count) if slot not in remaining]
        last = [slot for slot in slots if slot >= count]
        for gap, slot in zip(gaps, last, strict=True):
            for buffer in (buffer for pair in self.buffers for buffer in pair):
                buffer[gap, :, : self.lengths[slot]] = buffer[slot, :, : self.lengths[slot]]
        order = list(range(count))
        for gap, slot in zip(gaps, last, strict=True):
            order[gap] = slot
        self.lengths = [self.lengths[slot] for slot in order]
        return order

    def grow(self, slots: int, width: int) -> None:
        """Grow the buffers to hold `slots` slots of `width` tokens."""
        old_slots, _, old_capacity, _ = self.buffers[0][0].shape
        if slots <= old_slots and width <= old_capacity:
            return
        new_slots, new_capacity = max(slots, old_slots), grown_capacity(old_capacity, width, self.spare)
        for pair in self.buffers:
            for i, old in enumerate(pair):
                pair[i] = old.new_zeros(new_slots, old.shape[1], new_capacity, old.shape[3])
                pair[i][:old_slots, :, :old_capacity] = old

    def layer(self, number: int) -> tuple[Tensor, Tensor]:
        """Return views of a layer's keys and values, `[slots, heads, width, d]`."""
        keys, values = self.buffers[number]
        count = len(self.lengths)
        return keys[:count, :, : self.width], values[:count, :, : self.width]


def grown_capacity(capacity: int, width: int, spare: int) -> int:
    """Compute the capacity of slots that must hold `width` tokens.

    Args:
        capacity: current capacity, in tokens.
        width: tokens that must fit.
        spare: tokens beyond `width` for which growing slots get memory at least.
    """
    return capacity if width <= capacity else max(width + spare, capacity * 3 // 2)


def completion_capacity(tokens: int) -> int:
    """Compute the capacity of a `SlotCache`'s slots after completions grew to `tokens`, one at a time."""
    capacity = 0
    while capacity < tokens:
        capacity = grown_capacity(capacity, capacity + 1, SPARE_TOKENS)
    return capacity


@dataclass(frozen=True)
class PromptSharing:
    """Mapping of rows to the prompts that they share.

    Attributes:
        rows: the rows of each prompt, padded with row 0 to the largest number R, `[P, R]`.
        flat_index: index of each row in the flat `rows`, `[B]`.
        mask: visible tokens of each row's prompt, then of its completion, `[B, 1, 1, P_max + T_max]` boolean.
    """

    rows: Tensor
    flat_index: Tensor
    mask: Tensor


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """Cache of a batch of completions; a prompt is stored once for all its rows.

    A prompt is dropped with its last row, except for the latest prompts, on which more rows may enter.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(layers=[])
        self.prompts, self.completions = Slots(dtype), Slots(dtype, spare=SPARE_TOKENS)
        self.prompt_slots: list[int] = []  # slot of each row's prompt
        self.latest_prompts: list[int] = []  # slots of the prompts that were added last
        self.current_layer = 0  # the layer that was written last

    def add_prompts(self, layers: Sequence[KeysAndValues], lengths: Sequence[int]) -> None:
        """Store prompts, on which rows may enter then: keys and values `[P, heads, T, d]` of each layer."""
        self.latest_prompts = []
        self._drop_unused()
        start = len(self.prompts.lengths)
        self.prompts.append(layers, lengths)
        self.latest_prompts = list(range(start, start + len(lengths)))
        self.completions.allocate(layers)

    def enter(self, prompts: Sequence[int]) -> None:
        """Add rows after the current ones, each on one of the latest prompts, given by its index."""
        self.prompt_slots += [self.latest_prompts[prompt] for prompt in prompts]
        self.completions.lengths += [0] * len(prompts)
        self.completions.grow(len(self.prompt_slots), 0)

    def extend(self, device: torch.device) -> Tensor:
        """Make space for one more token in every row; returns the new tokens' positions `[B, 1]`."""
        self._indices = torch.tensor(self.completions.lengths, device=device)
        self._rows = torch.arange(len(self.prompt_slots), device=device)
        self.completions.lengths = [length + 1 for length in self.completions.lengths]
        self.completions.grow(len(self.prompt_slots), self.completions.width)
        prompt_lengths = torch.tensor([self.prompts.lengths[slot] for slot in self.prompt_slots], device=device)
        self.sharing = self._sharing(prompt_lengths, device)
        return (prompt_lengths + self._indices)[:, None]

    def _sharing(self, prompt_lengths: Tensor, device: torch.device) -> PromptSharing:
        """Compute which rows share a prompt; `prompt_lengths` has one entry for each row, `[B]`."""
        most = max(Counter(self.prompt_slots).values())
        rows, flat_index = [[0] * most for _ in self.prompts.lengths], list[int]()
        filled = Counter[int]()
        for row, slot in enumerate(self.prompt_slots):
            rows[slot][filled[slot]] = row
            flat_index.append(slot * most + filled[slot])
            filled[slot] += 1
        prompt_mask = torch.arange(self.prompts.width, device=device) < prompt_lengths[:, None]
        completion_mask = torch.arange(self.completions.width, device=device) <= self._indices[:, None]
        mask = torch.cat([prompt_mask, completion_mask], dim=1)[:, None, None]
        return PromptSharing(torch.tensor(rows, device=device), torch.tensor(flat_index, device=device), mask)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values; returns views of the completions', `[B, heads, T, d]`.

        Args:
            key_states: `[B, heads, 1, d]`.
            value_states: likewise.
            layer_idx: number of the layer.
        """
        for buffer, states in zip(self.completions.buffers[layer_idx], (key_states, value_states), strict=True):
            buffer[self._rows, :, self._indices] = states[:, :, 0].to(buffer.dtype)
        self.current_layer = layer_idx
        return self.completions.layer(layer_idx)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former index of each remaining row, in the new order."""
        order = self.completions.keep(rows)
        self.prompt_slots = [self.prompt_slots[row] for row in order]
        self._drop_unused()
        return order

    def _drop_unused(self) -> None:
        """Drop prompts without rows, except the latest."""
        used = sorted({*self.prompt_slots, *self.latest_prompts})
        if len(used) < len(self.prompts.lengths):
            new_slots = {old: new for new, old in enumerate(self.prompts.keep(used))}
            self.prompt_slots = [new_slots[slot] for slot in self.prompt_slots]
            self.latest_prompts = [new_slots[slot] for slot in self.latest_prompts]
