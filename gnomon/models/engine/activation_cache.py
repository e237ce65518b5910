"""What frozen lower layers said of tokens, kept: a later pass over the same tokens begins above them.

Below the lowest layer that learns nothing changes, so a state there depends on its tokens only. A reference that
is asked before training, a second epoch, a second look at a round: each finds the states of the first pass. With
18 of 30 layers frozen that is three fifths of a forward pass.

States are found by the token ids of a prompt, or of a prompt and its completion, whatever batch they stand in.
The lower layers are skipped by replacing their `forward` for the length of a pass, so every architecture goes
through its own code; one whose upper layers take more from below than the states is found out by a trial, and
goes without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.adapters import decoder_layers
from gnomon.models.engine.forward import LayoutName, completion_states
from gnomon.models.engine.sequence_layout import Layout
from gnomon.models.library_patches import replace_forward

Positions = slice | Tensor  # flat positions in a layout
Key = tuple[bytes, bytes]  # token ids of a prompt, and of a completion; the latter empty for the prompt's own
BY_THE_BATCH = ("dynamic", "longrope")  # rotary embeddings that depend on the longest row beside a token
TOLERANCE = 1e-3  # of the largest state in a trial; a model that needs more than the states is off by far more


def frozen_depth(trunk: nn.Module) -> int:
    """How many of the lowest layers learn nothing, with nothing below them that does."""
    try:
        layers = decoder_layers(trunk)
    except ModelError:
        return 0
    inside = {id(p) for p in layers.parameters()}
    if any(p.requires_grad and id(p) not in inside for p in trunk.parameters()):
        return 0
    learning = [any(p.requires_grad for p in layer.parameters()) for layer in layers]
    return learning.index(True) if True in learning else len(layers)


class _Enough(Exception):
    """The frozen layers have spoken, and nobody asks those above."""


class FrozenLayerCache:
    """The states above the frozen layers of one model, by token ids.

    Attributes:
        limit: bytes; what is beyond is not kept.
        depth: how many layers are frozen.
        size: bytes kept.
        open: whether passes are still remembered. A loop that may be resumed fills the store in an order of its
            own and closes it, or the last bits of its numbers would depend on where it was interrupted.
    """

    def __init__(self, trunk: nn.Module, limit: int):
        self.trunk = trunk
        self.limit = limit
        self.depth = frozen_depth(trunk)
        self.size = 0
        self.open = True
        self._pieces: dict[Key, Tensor] = {}
        self._as_tuple = False  # what a layer of this architecture returns
        self._filling = False

    def forget(self) -> None:
        """Keep nothing."""
        self._pieces.clear()
        self.size = 0

    def fill(self, groups: TokenGroups, *, dtype: torch.dtype, layout: LayoutName) -> None:
        """Remember what the frozen layers say of `groups`; those above do not run."""
        self._filling = True
        try:
            with torch.no_grad():
                completion_states(self.trunk, groups, at="end", dtype=dtype, layout=layout, above=self.above)
        except _Enough:
            return
        finally:
            self._filling = False

    @contextmanager
    def above(self, groups: TokenGroups, plan: Layout) -> Iterator[None]:
        """A forward pass inside starts above the frozen layers if it can, and is remembered if it cannot."""
        pieces_at = list(_pieces_at(groups, plan))
        if all(key in self._pieces for key, _ in pieces_at):
            with self._skipped(self._assemble(pieces_at, plan)):
                yield
        elif not self.open or torch.is_inference_mode_enabled():  # such tensors may not meet gradients later
            yield
        else:
            top: Any = decoder_layers(self.trunk)[self.depth - 1]
            hook = top.register_forward_hook(lambda _layer, _arguments, output: self._remember(output, pieces_at))
            try:
                yield
            finally:
                hook.remove()

    def is_exact_for(self, dtype: torch.dtype) -> bool:
        """Whether this architecture says the same above kept states: a trial on a few tokens.

        Other tokens go through between remembering and asking, so that what a lower layer left behind is theirs.
        """
        if _rope_type(self.trunk.config) in BY_THE_BATCH:
            return False
        vocabulary = int(getattr(self.trunk.config, "vocab_size", 2))
        ids = [(37 * n + 5) % vocabulary for n in range(13)]
        groups = TokenGroups.build([ids[:3], ids[3:7]], [ids[7:9], ids[9:12], ids[12:]], [0, 0, 1])
        others = TokenGroups.build([ids[6:9], ids[2:6]], [ids[:2], ids[5:8], ids[3:4]], [0, 0, 1])
        try:
            with torch.no_grad():
                plain, _, _, again = (
                    completion_states(self.trunk, tokens, at="end", dtype=dtype, above=above)
                    for tokens, above in (
                        (groups, None),
                        (groups, self.above),
                        (others, None),
                        (groups, self.above),
                    )
                )
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError):
            return False  # its upper layers miss something that the lower ones would have left for them
        finally:
            served = bool(self._pieces)
            self.forget()
        return served and float((again - plain).abs().max()) <= TOLERANCE * float(plain.abs().max())

    def _remember(self, output: Any, pieces_at: Sequence[tuple[Key, Positions]]) -> None:
        self._as_tuple = isinstance(output, tuple)
        states = (output[0] if self._as_tuple else output).detach().flatten(0, 1)
        for key, positions in pieces_at:
            piece = states[positions]
            if key not in self._pieces and self.size + piece.nbytes <= self.limit:
                self._pieces[key] = piece.clone()
                self.size += piece.nbytes
        if self._filling:
            raise _Enough

    def _assemble(self, pieces_at: Sequence[tuple[Key, Positions]], plan: Layout) -> Tensor:
        """The kept states where the layout has their tokens, zeros in the padding, `[R, L, d]`."""
        rows, length = plan.input_ids.shape
        first = self._pieces[pieces_at[0][0]]
        states = first.new_zeros(rows * length, first.shape[-1])
        for key, positions in pieces_at:
            states[positions] = self._pieces[key]
        return states.view(rows, length, -1)

    def _skipped(self, states: Tensor) -> AbstractContextManager[None]:
        """The frozen layers hand on what they get, and the last of them says `states`."""
        layers: list[Any] = list(decoder_layers(self.trunk))[: self.depth]
        return replace_forward(
            {layer: self._forward_returning(states if layer is layers[-1] else None) for layer in layers}
        )

    def _forward_returning(self, states: Tensor | None) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            found = states if states is not None else args[0] if args else kwargs["hidden_states"]
            return (found,) if self._as_tuple else found

        return forward


def _rope_type(config: Any) -> str:
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return str(settings.get("rope_type", settings.get("type", "")))


def _pieces_at(groups: TokenGroups, plan: Layout) -> Iterator[tuple[Key, Positions]]:
    """Where a layout's flat positions hold each prompt and completion, by what the states there depend on."""
    prompts = [p.numpy().tobytes() for p in groups.prompts]
    for g, path in plan.prompts:
        yield (prompts[g], b""), path
    at = 0
    for g, completion in zip(groups.group.tolist(), groups.completions, strict=True):
        start = int(plan.end[at])
        yield (prompts[g], completion.numpy().tobytes()), slice(start, start + len(completion))
        at += len(completion)
