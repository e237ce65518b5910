"""Choice of device and precision, and exact float32 products."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import CPU, tiny_network, word_tokenizer
from transformers import PretrainedConfig

from gnomon.models.engine import device
from gnomon.models.engine.device import Compute, Processor, find_compute, onednn_products, processor
from gnomon.models.roles import Policy

ZEN4 = Processor("AMD EPYC", "AVX512", avx512=True, packs_bfloat16=True, fast_bfloat16=True)
AVX2 = Processor("AMD EPYC", "AVX2")
HERE = processor()


def setting() -> str:
    result: str = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    return result


def routed() -> bool:
    """Whether PyTorch hands float32 products to oneDNN."""
    return setting() == "bf16"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"avx512": False}, False),
        ({"amx": True}, False),  # there oneDNN would round to bfloat16
        ({"name": "Intel Xeon"}, False),
        ({"name": ""}, False),
    ],
)
def test_float32_products_go_where_the_processor_is_used_whole(
    change: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "processor", lambda: replace(ZEN4, **change))
    with onednn_products(False):
        result = find_compute("cpu", "float32")
        assert routed() is (expected and not HERE.amx)  # where there is AMX after all, the product gives it away
        near = torch.full((256, 256), 1 + 2**-12) @ torch.ones(256, 256)
        assert bool((near == 256 + 2**-4).all())
    assert str(result) == "cpu, float32"


def test_products_that_bfloat16_gets_wrong_are_left_to_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "processor", lambda: ZEN4)
    monkeypatch.setattr(torch, "full", lambda size, value: torch.ones(size) * torch.tensor(value).bfloat16())
    with onednn_products(False):
        find_compute("cpu", "float32")
        assert not routed()


@pytest.mark.parametrize(
    ("cpu", "auto", "explicit"),
    [
        (ZEN4, "bfloat16", "bfloat16"),
        (replace(ZEN4, fast_bfloat16=False), "float32", "bfloat16"),  # AVX-512 without bfloat16 instructions
        (AVX2, "float32", "float32"),
    ],
)
def test_bfloat16_only_where_there_are_instructions(
    cpu: Processor,
    auto: str,
    explicit: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(device, "processor", lambda: cpu)
    with onednn_products(False):
        narrow = " (models under 192 wide: float32)" if auto == "bfloat16" else ""
        assert str(find_compute("cpu")) == f"cpu, {auto}{narrow}"
        assert not capsys.readouterr().err
        assert str(find_compute("cpu", "bfloat16")) == f"cpu, {explicit}"
    assert ("falls back to float32: AMD EPYC (AVX2" in capsys.readouterr().err) == (explicit == "float32")


@pytest.mark.parametrize(
    ("precision_name", "width", "expected"),
    [
        ("auto", 191, torch.float32),
        ("auto", 192, torch.bfloat16),
        ("auto", None, torch.bfloat16),  # a configuration that names no width
        ("bfloat16", 16, torch.bfloat16),  # what the recipe names is obeyed
        ("float32", 576, torch.float32),
    ],
)
def test_auto_leaves_narrow_models_in_float32(
    precision_name: Any, width: int | None, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "processor", lambda: ZEN4)
    config = PretrainedConfig() if width is None else PretrainedConfig(hidden_size=width)
    with onednn_products(False):
        assert find_compute("cpu", precision_name).for_model(SimpleNamespace(config=config)).dtype == expected


def test_a_model_computes_as_its_width_allows() -> None:
    compute = Compute(torch.device("cpu"), torch.bfloat16, by_width=True)
    assert Policy(tiny_network(), word_tokenizer(), compute).compute == CPU


AS_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
LIMITED = """
import torch
from gnomon.models.engine.device import find_compute, processor
print(processor().vectors, processor().packs_bfloat16)
print(find_compute("cpu"))
print(find_compute("cpu", "bfloat16"))
try:
    torch.ops.mkldnn._reorder_linear_weight(torch.ones(64, 64, dtype=torch.bfloat16), 32)
except RuntimeError:
    print("refused")
"""


def test_limits_of_the_environment_are_obeyed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **AS_AVX2, "COLUMNS": "300"},
    )
    assert done.stdout.splitlines() == ["AVX2 False", "cpu, float32", "cpu, float32", "refused"]
    assert done.stderr.count("precision: bfloat16 falls back to float32") == 1


def test_the_setting_before_comes_back() -> None:
    before = setting()
    with pytest.raises(KeyError), onednn_products(True):
        raise KeyError(routed())
    assert setting() == before


GROWTH = """
import sys, psutil, torch
from gnomon.models.engine.device import find_compute, fill_kernels
compute = find_compute("cpu", "auto")
fill_kernels(compute)
weight, before = torch.ones(64, 64, dtype=compute.dtype), psutil.Process().memory_info().rss
for rows in range(1, 1001):
    torch.ones(rows, 64, dtype=compute.dtype) @ weight
print((psutil.Process().memory_info().rss - before) / 1e6)
"""


@pytest.mark.long
def test_a_thousand_shapes_leave_little_behind() -> None:
    """Without a bound it is half a gigabyte where oneDNN multiplies."""
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60
