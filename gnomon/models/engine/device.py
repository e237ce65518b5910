"""Device and precision of computations, detected once at the start."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gnomon.core.errors import ModelError
from gnomon.core.progress import console
from gnomon.models.settings import Device, Precision

# Models of fewer hidden units are slower in bfloat16 on a CPU: rounding a weight costs more than it saves.
NARROW = 192
KERNELS = 128  # compiled products in the cache; more than one pass of a model needs
# Values of ONEDNN_MAX_CPU_ISA with which oneDNN has no bfloat16 products in hardware.
WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


@dataclass(frozen=True)
class Processor:
    """Instructions that matrix products on this CPU use, with the limits of the environment applied.

    Attributes:
        name: of the processor, empty if PyTorch does not know it.
        vectors: the widest that PyTorch's own kernels use, such as `AVX2` or `AVX512`.
        avx512: whether oneDNN multiplies float32 with 512-bit vectors.
        amx: whether oneDNN multiplies bfloat16 in tiles.
        packs_bfloat16: whether oneDNN has bfloat16 products at all; without them PyTorch multiplies in plain
            loops, about a hundred times slower than in float32.
        fast_bfloat16: whether bfloat16 products are in hardware, and so faster than float32.
    """

    name: str = ""
    vectors: str = "DEFAULT"
    avx512: bool = False
    amx: bool = False
    packs_bfloat16: bool = False
    fast_bfloat16: bool = False

    def __str__(self) -> str:
        bfloat16 = "fast" if self.fast_bfloat16 else "slow" if self.packs_bfloat16 else "none"
        names = [self.vectors, *["AVX-512 products"] * self.avx512, *["AMX"] * self.amx, f"bfloat16: {bfloat16}"]
        return f"{self.name or 'unknown processor'} ({', '.join(names)})"


@dataclass(frozen=True)
class Compute:
    """A device and the dtype of matrix products; trained weights stay in float32.

    Attributes:
        by_width: whether narrow models use float32 instead.
    """

    device: torch.device
    dtype: torch.dtype
    by_width: bool = False

    def __str__(self) -> str:
        narrow = f" (models under {NARROW} wide: float32)" if self.by_width else ""
        return f"{self.device.type}, {str(self.dtype).removeprefix('torch.')}{narrow}"

    def for_model(self, network: Any) -> Compute:
        """Return the device and dtype for one Hugging Face network, by its hidden size."""
        if not self.by_width:
            return self
        width = getattr(network.config.get_text_config(), "hidden_size", NARROW)
        return Compute(self.device, torch.float32 if width < NARROW else self.dtype)


def find_compute(device: Device = "auto", precision: Precision = "auto") -> Compute:
    """Choose device and dtype: CUDA if available; bfloat16 if the processor has it in hardware, else float32.

    On a CPU, `auto` leaves models of fewer than `NARROW` hidden units in float32, which is faster for them. If
    oneDNN has no bfloat16 products for the processor, they are a hundred times slower than float32, and
    `bfloat16` falls back to float32 with a warning. If it has them without instructions, `bfloat16` is used as
    set, and `auto` is float32.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "the recipe sets device: cuda, but PyTorch finds no GPU; set model.device to auto or cpu."
        )
    chosen = torch.device(
        "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    )
    if chosen.type == "cpu":
        _limit_kernel_caches()
        _keep_freed_memory()
        _use_wide_vectors()
    if chosen.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        cpu = processor()
        fast = cpu.fast_bfloat16
        if precision == "bfloat16" and not cpu.packs_bfloat16:
            console.print(
                f"  [yellow]precision: bfloat16[/yellow] falls back to float32: {cpu} has no bfloat16 products",
                soft_wrap=True,
            )
            precision = "float32"
    by_width = precision == "auto" and fast and chosen.type == "cpu"
    if precision == "auto":
        precision = "bfloat16" if fast else "float32"
    return Compute(chosen, torch.bfloat16 if precision == "bfloat16" else torch.float32, by_width)


def processor() -> Processor:
    """Describe this CPU by PyTorch and oneDNN, with the limits of ATEN_CPU_CAPABILITY and ONEDNN_MAX_CPU_ISA."""
    hardware: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    packs = has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    native = packs and limit.upper() not in WITHOUT_BFLOAT16
    return Processor(
        name=str(hardware.get("cpu_name", "")),
        vectors=torch.backends.cpu.get_cpu_capability(),
        avx512=packs and bool(hardware.get("avx512_f")),  # oneDNN has bfloat16 wherever it may use AVX-512
        amx=native and bool(hardware.get("amx_tile")),
        packs_bfloat16=packs,
        fast_bfloat16=native and any(hardware.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")),
    )


def has_onednn() -> bool:
    """Return whether PyTorch was built with oneDNN and the operators that this package calls directly."""
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def _use_wide_vectors() -> None:
    """Use oneDNN for float32 products on processors where MKL does not use AVX-512.

    MKL uses only AVX2 on processors that are not Intel's, even if they have AVX-512. PyTorch passes float32
    products to oneDNN with a setting that would allow bfloat16 inside; only AMX has such kernels, and a product
    that is wrong in bfloat16 confirms that they are not used.
    """
    cpu = processor()
    if cpu.avx512 and not cpu.amx and cpu.name and "Intel" not in cpu.name:
        with onednn_products(True):
            exact = torch.full((256, 256), 1 + 2**-12) @ torch.ones(256, 256)
        if bool((exact == 256 + 2**-4).all()):
            _product_settings().fp32_precision = "bf16"


@contextmanager
def onednn_products(on: bool) -> Iterator[None]:
    """Context manager: whether oneDNN computes plain float32 products on a CPU, rather than MKL."""
    settings = _product_settings()
    before, settings.fp32_precision = settings.fp32_precision, "bf16" if on else "none"
    try:
        yield
    finally:
        settings.fp32_precision = before


def _product_settings() -> Any:
    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def _limit_kernel_caches() -> None:
    """Limit the caches of compiled kernels, one for each shape of a product, in oneDNN and PyTorch.

    By default each holds a thousand of half a megabyte and more: a gigabyte, if texts have many lengths.
    Compiling one again takes less than a millisecond. Both read the limit at the first product.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(KERNELS))


def fill_kernels(compute: Compute) -> None:
    """Fill the kernel caches with products and their gradients, so that memory is that of a long run."""
    if compute.device.type == "cpu":
        weight = torch.ones(64, 64, dtype=compute.dtype, requires_grad=True)
        for rows in range(1, KERNELS + 1):
            (torch.ones(rows, 64, dtype=compute.dtype) @ weight).sum().backward()  # type: ignore[no-untyped-call]


def _keep_freed_memory() -> None:
    """Make glibc keep large freed blocks instead of returning them to the kernel.

    A training step allocates and frees the same hundreds of megabytes again and again; each time the kernel would
    map and clear the pages, which took a fifth of a step's time.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            trim_threshold, mmap_threshold = -1, -3
            library.mallopt(mmap_threshold, 1 << 30)
            library.mallopt(trim_threshold, (1 << 31) - 1)
