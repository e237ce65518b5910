"""Dropout whose masks are a function of the run's seed, the optimizer step and the tokens being read.

Networks stay in evaluation mode; a loop switches dropout (Srivastava et al. 2014) on for training passes. There
is no random state: a resumed run draws the masks of an uninterrupted one, a layer that is recomputed in the
backward pass gets the same mask, and several processes draw for each micro-batch the masks of a single one.
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
        adapter: dropout rate of an adapter's inputs.
        head: dropout rate of the states before a reward model's head.
        key: identifies the run's seed and the step.
        read: identifies the micro-batch that is being read as well.
    """

    adapter: float
    head: float
    key: str
    read: bytes = b""

    def begin(self, tokens: TokenGroups) -> None:
        """Derive the following masks from these tokens."""
        digest = blake2b(self.key.encode(), digest_size=8)
        for row in (*tokens.prompts, *tokens.completions):
            digest.update(len(row).to_bytes(8, "little") + row.cpu().numpy().tobytes())
        self.read = digest.digest()

    def replay(self) -> MaskReplay:
        """Return a context manager for recomputed layers: their masks are those of the current micro-batch."""
        return MaskReplay(self, self.read)

    def drop(self, states: Tensor, rate: float, name: str) -> Tensor:
        """Set a share `rate` of `states` to 0 and scale up the others; without gradients, do nothing.

        Args:
            states: `[…]`, on any device.
            rate: from 0, which changes nothing, to below 1.
            name: of the layer in the network; each has its own masks.
        """
        if not rate or not torch.is_grad_enabled():
            return states
        seed = int.from_bytes(blake2b(self.read + name.encode(), digest_size=7).digest(), "little")
        generator = torch.Generator(device=states.device).manual_seed(seed)
        keep = torch.rand(states.shape, generator=generator, device=states.device) >= rate
        return states * keep.to(states.dtype) / (1 - rate)


class MaskReplay:
    """Context manager: use the masks of an earlier micro-batch; can be entered many times in succession."""

    def __init__(self, masks: DropoutMasks, read: bytes):
        self.masks = masks
        self.read = read

    def __enter__(self) -> None:
        self.before, self.masks.read = self.masks.read, self.read

    def __exit__(self, *_: object) -> None:
        self.masks.read = self.before


class MaskedInput(nn.Module):
    """Module in place of PEFT's dropout of an adapted layer."""

    def __init__(self, masks: DropoutMasks, name: str):
        super().__init__()
        self.masks = masks
        self.name = name

    def forward(self, states: Tensor) -> Tensor:
        """Apply dropout to the adapter's input, `[…, d] -> […, d]`."""
        return self.masks.drop(states, self.masks.adapter, self.name)


def masked_inputs(layers: list[Any], masks: DropoutMasks) -> AbstractContextManager[None]:
    """Context manager: the adapters of these PEFT layers apply dropout to their inputs."""
    return replace_adapter_dropout(layers, lambda number, name: MaskedInput(masks, f"{number} {name}"))
