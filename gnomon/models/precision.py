"""Where to compute and in which precision, found once at the start and said in one line."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Literal

import torch

from gnomon.core.errors import ModelError

Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Compute:
    """A device and the type of its matrix products; weights being trained stay in float32."""

    device: torch.device
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.device.type}, {str(self.dtype).removeprefix('torch.')}"


def find_compute(device: Device = "auto", precision: Precision = "auto") -> Compute:
    """CUDA where there is one; bfloat16 where the processor has instructions for it, float32 elsewhere.

    Emulated bfloat16 on an older processor is a hundred times slower than float32, so "auto" never picks it.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "the recipe asks for device: cuda, but PyTorch finds no GPU; set model.device to auto or cpu."
        )
    place = torch.device(
        "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    )
    if place.type == "cpu":
        _keep_freed_memory()
    if precision == "auto":
        on_cuda = place.type == "cuda"
        fast = torch.cuda.is_bf16_supported(including_emulation=False) if on_cuda else _cpu_has_bfloat16()
        precision = "bfloat16" if fast else "float32"
    return Compute(place, torch.bfloat16 if precision == "bfloat16" else torch.float32)


def _cpu_has_bfloat16() -> bool:
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def _keep_freed_memory() -> None:
    """Let glibc keep large blocks that were freed instead of giving them back to the kernel.

    A training step allocates and frees the same hundreds of megabytes again and again; each time the kernel would
    map and clear the pages anew, which was a fifth of a step's time.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            trim_threshold, mmap_threshold = -1, -3
            library.mallopt(mmap_threshold, 1 << 30)
            library.mallopt(trim_threshold, (1 << 31) - 1)
