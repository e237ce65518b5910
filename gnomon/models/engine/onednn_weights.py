"""Matrix products of few rows on a CPU: weights packed into oneDNN's blocks once instead of on every call.

A step of sampling multiplies a few rows with every weight of the model. For 8 rows the plain product reaches a
third of its rate for 500; with packed weights it is about twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.models.adapters import replaced
from gnomon.models.engine.device import has_onednn, onednn_products, processor
from gnomon.models.library_patches import has_own_forward, replace_forward

LIMIT = 2 * 2**30  # bytes of packed weights beside the plain ones; further matrices stay as they are
ROWS = 32  # number of rows that the blocks are optimized for; any number works


@contextmanager
def prepacked(model: Any) -> Iterator[None]:
    """Context manager: linear layers use packed copies of their weights; without gradients, on a CPU.

    The trunk's copies have the model's precision, the head's float32. Matrices that cannot be packed are
    converted once, not on every pass: all of them on a GPU, or if PyTorch was built without oneDNN, or in
    bfloat16 if oneDNN has no such products for the processor. The weights must not change inside.
    """
    packable = _linears(model) if has_onednn() else {}
    with replace_forward({module: _packed(module, dtype) for module, dtype in packable.items()}):
        others = (layer for layer in model.linear_layers() if not has_own_forward(layer))
        # The remaining products, in the attention of single tokens, are many and too small for oneDNN.
        with onednn_products(False) if packable else nullcontext(), replaced(model.rounded_weights(others)):
            yield


def _linears(model: Any) -> dict[Any, torch.dtype]:
    """Return the plain linear layers, as many as the limit allows, with the precision of each."""
    head = model.network.get_output_embeddings()
    linears: dict[Any, torch.dtype] = {}
    free, packable = LIMIT, {torch.float32, *[torch.bfloat16] * processor().packs_bfloat16}
    for module in (head, *model.trunk.modules()):
        if type(module) is nn.Linear and not has_own_forward(module) and module.weight.device.type == "cpu":
            dtype = module.weight.dtype if module is head else model.compute.dtype
            size = module.weight.numel() * dtype.itemsize
            if dtype in packable and size <= free:
                linears[module] = dtype
                free -= size
    return linears


def _packed(module: Any, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return a replacement for the layer's `forward`; like autocast it takes states in any precision."""
    weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.data.to(dtype), ROWS)
    bias = None if module.bias is None else module.bias.data.to(dtype)

    def forward(states: Tensor) -> Tensor:  # [..., in] -> [..., out]
        output: Tensor = torch.ops.mkldnn._linear_pointwise(states.to(dtype), weight, bias, "none", [], "")
        return output

    return forward
