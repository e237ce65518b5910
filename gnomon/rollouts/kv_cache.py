"""What rows of completions have read: each prompt once for all rows on it, and each row's own tokens, in place.

Rows of any length stand side by side, leave, and give way to others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache

Pair = Sequence[Tensor]  # keys and values of a layer
ROOM = 64  # own tokens that rows have room for, before it has to grow


class Slots:
    """Keys and values `[slots, heads, tokens, d]` of each layer, written in place; grows by half when full.

    They are held in `dtype`, whatever a layer says them in: under autocast that is float32 in part. Each slot
    begins at its first place. What is beyond its length was left by others and is for a mask to hide; it is zeros
    or finite numbers, never uninitialised memory, in which a NaN would pass through the mask.

    Attributes:
        stores: of each layer, keys and values.
        lengths: tokens in each slot that is taken.
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

    def shape(self, layers: Sequence[Pair]) -> None:
        """Be ready for keys and values such as these, if for none before."""
        if not self.stores:
            self.stores = [
                [new.new_zeros(0, new.shape[1], 0, new.shape[3], dtype=self.dtype) for new in pair]
                for pair in layers
            ]

    def enter(self, layers: Sequence[Pair], lengths: Sequence[int]) -> None:
        """Slots behind those that are taken, with each layer's keys and values `[len(lengths), heads, T, d]`."""
        self.shape(layers)
        first, count, width = len(self.lengths), len(self.lengths) + len(lengths), max(lengths)
        self.grow(count, width)
        for pair, new in zip(self.stores, layers, strict=True):
            for store, states in zip(pair, new, strict=True):
                store[first:count, :, :width] = states[:, :, :width]
        self.lengths += lengths

    def keep(self, slots: Sequence[int]) -> list[int]:
        """Close the gaps that other slots leave by moving the last ones into them; returns who stands where."""
        count, staying = len(slots), set(slots)
        gaps = [place for place in range(count) if place not in staying]
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
        """Make room for so many slots of so many tokens."""
        before, _, room, _ = self.stores[0][0].shape
        if slots <= before and width <= room:
            return
        size = (max(slots, before), room if width <= room else max(width + self.spare, room * 3 // 2))
        for pair in self.stores:
            for place, old in enumerate(pair):
                pair[place] = old.new_zeros(size[0], old.shape[1], size[1], old.shape[3])
                pair[place][:before, :, :room] = old

    def layer(self, number: int) -> tuple[Tensor, Tensor]:
        """Views of a layer's keys and values, `[taken, heads, width, d]`."""
        keys, values = self.stores[number]
        taken = len(self.lengths)
        return keys[:taken, :, : self.width], values[:taken, :, : self.width]


@dataclass(frozen=True)
class Sharing:
    """Which rows read which prompt.

    Attributes:
        place: for each prompt as many rows as most have, `[P, R]`; row 0 stands where there is no other.
        back: where in the flat `place` each row is, `[B]`.
        mask: what each row sees of its prompt, then of its own tokens, `[B, 1, 1, width + own width]`.
    """

    place: Tensor
    back: Tensor
    mask: Tensor


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """Rows of completions, each on a prompt that is held once, however many rows read it.

    A prompt is let go of with its last row, but for those that were read last: more rows may enter on them.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(layers=[])
        self.prompts, self.own = Slots(dtype), Slots(dtype, spare=ROOM)
        self.prompt_of: list[int] = []  # of each row, the prompt's slot
        self.newest: list[int] = []  # slots of the prompts that were read last
        self.layer = 0  # that was written last

    def read(self, layers: Sequence[Pair], lengths: Sequence[int]) -> None:
        """Prompts that rows may enter on, in the place of those before: keys and values `[P, heads, T, d]`."""
        self.newest = []
        self._let_go()
        first = len(self.prompts.lengths)
        self.prompts.enter(layers, lengths)
        self.newest = list(range(first, first + len(lengths)))
        self.own.shape(layers)

    def enter(self, prompts: Sequence[int]) -> None:
        """Rows behind those that are there, each on one of the newest prompts."""
        self.prompt_of += [self.newest[prompt] for prompt in prompts]
        self.own.lengths += [0] * len(prompts)
        self.own.grow(len(self.prompt_of), 0)

    def open(self, device: torch.device) -> Tensor:
        """Make room for one more token in each row; returns their positions `[B, 1]`."""
        self._places = torch.tensor(self.own.lengths, device=device)
        self._rows = torch.arange(len(self.prompt_of), device=device)
        self.own.lengths = [length + 1 for length in self.own.lengths]
        self.own.grow(len(self.prompt_of), self.own.width)
        lengths = torch.tensor([self.prompts.lengths[p] for p in self.prompt_of], device=device)
        self.sharing = self._share(lengths, device)
        return (lengths + self._places)[:, None]

    def _share(self, lengths: Tensor, device: torch.device) -> Sharing:
        """As of now; `lengths` are those of the rows' prompts, `[B]`."""
        most = max(Counter(self.prompt_of).values())
        place, back = [[0] * most for _ in self.prompts.lengths], list[int]()
        taken = Counter[int]()
        for row, prompt in enumerate(self.prompt_of):
            place[prompt][taken[prompt]] = row
            back.append(prompt * most + taken[prompt])
            taken[prompt] += 1
        of_prompt = torch.arange(self.prompts.width, device=device) < lengths[:, None]
        own = torch.arange(self.own.width, device=device) <= self._places[:, None]
        mask = torch.cat([of_prompt, own], dim=1)[:, None, None]
        return Sharing(torch.tensor(place, device=device), torch.tensor(back, device=device), mask)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values `[B, heads, 1, d]`; returns views of the rows' own."""
        for store, states in zip(self.own.stores[layer_idx], (key_states, value_states), strict=True):
            store[self._rows, :, self._places] = states[:, :, 0].to(store.dtype)
        self.layer = layer_idx
        return self.own.layer(layer_idx)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let go of all other rows; returns which row stands in each place afterwards."""
        order = self.own.keep(rows)
        self.prompt_of = [self.prompt_of[row] for row in order]
        self._let_go()
        return order

    def _let_go(self) -> None:
        """Of prompts that no row reads and none will."""
        staying = sorted({*self.prompt_of, *self.newest})
        if len(staying) < len(self.prompts.lengths):
            place = {old: new for new, old in enumerate(self.prompts.keep(staying))}
            self.prompt_of = [place[prompt] for prompt in self.prompt_of]
            self.newest = [place[prompt] for prompt in self.newest]
