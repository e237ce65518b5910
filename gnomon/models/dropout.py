"""Dropout whose masks are a function of the run's seed, the optimizer step and the tokens being read.

Networks stay in evaluation mode; a loop switches dropout (Srivastava et al. 2014) on around passes that learn.
No random state is carried along: a resumed run draws the masks that it would have drawn, a layer that is computed
again on the way back meets the same mask, and several processes draw for each micro-batch what one would.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.core.batches import TokenGroups
from gnomon.models.library_patches import replace_adapter_dropout


@dataclass
class DropoutMasks:
    """Draws masks for one model during one optimizer step.

    Attributes:
        adapter: share of an adapter's inputs that is dropped.
        head: share of the states before a reward model's head that is dropped.
        key: names the run's seed and the step.
        read: names the micro-batch that is being read, too.
    """

    adapter: float
    head: float
    key: str
    read: bytes = b""

    def begin(self, tokens: TokenGroups) -> None:
        """The next masks are for these tokens."""
        found = blake2b(self.key.encode(), digest_size=8)
        for row in (*tokens.prompts, *tokens.completions):
            found.update(len(row).to_bytes(8, "little") + row.cpu().numpy().tobytes())
        self.read = found.digest()

    def replay(self) -> MaskReplay:
        """A context for layers that are computed again: their masks are those of the micro-batch read now."""
        return MaskReplay(self, self.read)

    def drop(self, states: Tensor, rate: float, name: str) -> Tensor:
        """`states` with a share of `rate` set to 0 and the others scaled up; without a gradient as they are.

        Args:
            states: of any shape, on any device.
            rate: from 0, which changes nothing, to below 1.
            name: of the place in the network; each has its own masks.
        """
        if not rate or not torch.is_grad_enabled():
            return states
        seed = int.from_bytes(blake2b(self.read + name.encode(), digest_size=7).digest(), "little")
        generator = torch.Generator(device=states.device).manual_seed(seed)
        keep = torch.rand(states.shape, generator=generator, device=states.device) >= rate
        return states * keep.to(states.dtype) / (1 - rate)


class MaskReplay:
    """Inside, masks are those of an earlier micro-batch; can be entered many times, one after another."""

    def __init__(self, masks: DropoutMasks, read: bytes):
        self.masks = masks
        self.read = read

    def __enter__(self) -> None:
        self.before, self.masks.read = self.masks.read, self.read

    def __exit__(self, *_: object) -> None:
        self.masks.read = self.before


class MaskedInput(nn.Module):
    """Stands where PEFT keeps an adapted layer's dropout."""

    def __init__(self, masks: DropoutMasks, name: str):
        super().__init__()
        self.masks = masks
        self.name = name

    def forward(self, states: Tensor) -> Tensor:
        """The adapter's input, some of it dropped."""
        return self.masks.drop(states, self.masks.adapter, self.name)


def masked_inputs(layers: list[Any], masks: DropoutMasks) -> AbstractContextManager[None]:
    """Inside, the adapters of these PEFT layers drop some of their inputs."""
    return replace_adapter_dropout(layers, lambda number, name: MaskedInput(masks, f"{number} {name}"))
