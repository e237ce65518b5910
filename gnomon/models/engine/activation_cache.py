"""Activation cache for frozen lower layers, keyed by token ids; later passes start above them.

Nothing changes below the lowest layer that learns, so a state there depends on its tokens only. The reference's
pass before training, a second epoch and a second pass over a round all reuse the states of the first pass. With
18 of 30 layers frozen that saves three fifths of a forward pass.

The key is the token ids of a prompt, or of a prompt and its completion, in any batch. The lower layers are
skipped by replacing their `forward` for the length of a pass, so every architecture runs its own code. A trial
detects architectures whose upper layers need more from below than the states; they run without a cache.
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
Key = tuple[bytes, bytes]  # token ids of a prompt, and of a completion; the latter empty for the prompt itself
BATCH_DEPENDENT = ("dynamic", "longrope")  # rotary embeddings that depend on the longest row of a batch
TOLERANCE = 1e-3  # of the largest state in a trial; a model that needs more than the states deviates far more


def frozen_depth(trunk: nn.Module) -> int:
    """Count the frozen layers at the bottom of a trunk; 0 if any weight outside its layers learns."""
    try:
        layers = decoder_layers(trunk)
    except ModelError:
        return 0
    inside = {id(p) for p in layers.parameters()}
    if any(p.requires_grad and id(p) not in inside for p in trunk.parameters()):
        return 0
    learning = [any(p.requires_grad for p in layer.parameters()) for layer in layers]
    return learning.index(True) if True in learning else len(layers)


class _Stop(Exception):
    """Raised above the frozen layers to end a pass that only fills the cache."""


class FrozenLayerCache:
    """Cache of the states above the frozen layers of one model, by token ids.

    Attributes:
        limit: maximum size in bytes; further states are not stored.
        depth: number of frozen layers.
        size: bytes stored.
        open: whether passes add states. A loop that can be resumed fills the cache in a fixed order and closes
            it; otherwise the last bits of its numbers would depend on where it was interrupted.
    """

    def __init__(self, trunk: nn.Module, limit: int):
        self.trunk = trunk
        self.limit = limit
        self.depth = frozen_depth(trunk)
        self.size = 0
        self.open = True
        self._pieces: dict[Key, Tensor] = {}
        self._as_tuple = False  # whether a layer of this architecture returns a tuple
        self._filling = False

    def clear(self) -> None:
        """Remove all states."""
        self._pieces.clear()
        self.size = 0

    def fill(self, groups: TokenGroups, *, dtype: torch.dtype, layout: LayoutName) -> None:
        """Store the frozen layers' states of `groups`, without running the layers above.

        Args:
            groups: prompts and completions.
            dtype: of matrix products.
            layout: of the forward pass.
        """
        self._filling = True
        try:
            with torch.no_grad():
                completion_states(self.trunk, groups, at="end", dtype=dtype, layout=layout, above=self.above)
        except _Stop:
            return
        finally:
            self._filling = False

    @contextmanager
    def above(self, groups: TokenGroups, plan: Layout) -> Iterator[None]:
        """Context manager: a pass starts above the frozen layers if its states are stored, else stores them."""
        pieces_at = list(_pieces_at(groups, plan))
        if all(key in self._pieces for key, _ in pieces_at):
            with self._skipped(self._assemble(pieces_at, plan)):
                yield
        elif not self.open or torch.is_inference_mode_enabled():  # autograd cannot use tensors of inference mode
            yield
        else:
            top: Any = decoder_layers(self.trunk)[self.depth - 1]
            hook = top.register_forward_hook(lambda _layer, _arguments, output: self._store(output, pieces_at))
            try:
                yield
            finally:
                hook.remove()

    def is_exact_for(self, dtype: torch.dtype) -> bool:
        """Return whether passes above stored states are exact for this architecture, by a trial on a few tokens.

        A pass over other tokens between storing and reuse overwrites anything else that lower layers leave
        behind.
        """
        if _rope_type(self.trunk.config) in BATCH_DEPENDENT:
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
            return False  # its upper layers need something that the lower ones leave behind
        finally:
            filled = bool(self._pieces)
            self.clear()
        return filled and float((again - plain).abs().max()) <= TOLERANCE * float(plain.abs().max())

    def _store(self, output: Any, pieces_at: Sequence[tuple[Key, Positions]]) -> None:
        self._as_tuple = isinstance(output, tuple)
        states = (output[0] if self._as_tuple else output).detach().flatten(0, 1)
        for key, positions in pieces_at:
            piece = states[positions]
            if key not in self._pieces and self.size + piece.nbytes <= self.limit:
                self._pieces[key] = piece.clone()
                self.size += piece.nbytes
        if self._filling:
            raise _Stop

    def _assemble(self, pieces_at: Sequence[tuple[Key, Positions]], plan: Layout) -> Tensor:
        """Place the stored states at their tokens' positions in the layout, zeros in the padding, `[R, L, d]`."""
        rows, length = plan.input_ids.shape
        first = self._pieces[pieces_at[0][0]]
        states = first.new_zeros(rows * length, first.shape[-1])
        for key, positions in pieces_at:
            states[positions] = self._pieces[key]
        return states.view(rows, length, -1)

    def _skipped(self, states: Tensor) -> AbstractContextManager[None]:
        """Context manager: the frozen layers return their input, and the last of them `states` `[R, L, d]`."""
        layers: list[Any] = list(decoder_layers(self.trunk))[: self.depth]
        return replace_forward(
            {layer: self._forward_returning(states if layer is layers[-1] else None) for layer in layers}
        )

    def _forward_returning(self, states: Tensor | None) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            output = states if states is not None else args[0] if args else kwargs["hidden_states"]
            return (output,) if self._as_tuple else output

        return forward


def _rope_type(config: Any) -> str:
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return str(settings.get("rope_type", settings.get("type", "")))


def _pieces_at(groups: TokenGroups, plan: Layout) -> Iterator[tuple[Key, Positions]]:
    """Yield the key of each prompt and completion with its flat positions in the layout."""
    prompts = [p.numpy().tobytes() for p in groups.prompts]
    for g, path in plan.prompts:
        yield (prompts[g], b""), path
    at = 0
    for g, completion in zip(groups.group.tolist(), groups.completions, strict=True):
        start = int(plan.end[at])
        yield (prompts[g], completion.numpy().tobytes()), slice(start, start + len(completion))
        at += len(completion)
