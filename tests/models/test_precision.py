"""Where products are computed: found once, in float32 what float32 is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from gnomon.models import precision
from gnomon.models.precision import find_compute, onednn_products

ZEN4 = {"avx512_f": True, "avx512_bf16": True, "amx_tile": False, "cpu_name": "AMD EPYC"}


def setting() -> str:
    found: str = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    return found


def routed() -> bool:
    """Whether PyTorch hands float32 products to oneDNN."""
    return setting() == "bf16"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"avx512_f": False}, False),
        ({"amx_tile": True}, False),  # there oneDNN would round to bfloat16
        ({"cpu_name": "Intel Xeon"}, False),
    ],
)
def test_float32_products_go_where_the_processor_is_used_whole(
    change: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu", lambda: {**ZEN4, **change})
    with onednn_products(False):
        found = find_compute("cpu", "float32")
        assert routed() is expected
        near = torch.full((256, 256), 1 + 2**-12) @ torch.ones(256, 256)
        assert bool((near == 256 + 2**-4).all())
    assert str(found) == "cpu, float32"


def test_products_that_bfloat16_gets_wrong_are_left_to_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu", lambda: ZEN4)
    monkeypatch.setattr(torch, "full", lambda size, value: torch.ones(size) * torch.tensor(value).bfloat16())
    with onednn_products(False):
        find_compute("cpu", "float32")
        assert not routed()


@pytest.mark.parametrize(("name", "expected"), [("avx512_bf16", "bfloat16"), ("avx2", "float32")])
def test_bfloat16_only_where_there_are_instructions(
    name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu", lambda: {name: True})
    with onednn_products(False):
        assert str(find_compute("cpu")) == f"cpu, {expected}"


def test_the_setting_before_comes_back() -> None:
    before = setting()
    with pytest.raises(KeyError), onednn_products(True):
        raise KeyError(routed())
    assert setting() == before


GROWTH = """
import sys, psutil, torch
from gnomon.models.precision import find_compute, fill_kernels
compute = find_compute("cpu", "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16") else "float32")
fill_kernels(compute)
weight, before = torch.ones(64, 64, dtype=compute.dtype), psutil.Process().memory_info().rss
for rows in range(1, 1001):
    torch.ones(rows, 64, dtype=compute.dtype) @ weight
print((psutil.Process().memory_info().rss - before) / 1e6)
"""


@pytest.mark.slow
def test_a_thousand_shapes_leave_little_behind() -> None:
    """Without a bound it is half a gigabyte where oneDNN multiplies."""
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60
