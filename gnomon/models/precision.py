"""Where to compute and in which precision, found once at the start and said in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

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
    place = torch.device(
        "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    )
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if place.type == "cuda" else _cpu_has_bfloat16()
        precision = "bfloat16" if fast else "float32"
    return Compute(place, torch.bfloat16 if precision == "bfloat16" else torch.float32)


def _cpu_has_bfloat16() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
