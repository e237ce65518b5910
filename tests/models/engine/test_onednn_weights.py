"""Weights in oneDNN's blocks: the plain product's numbers, and layers restored afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_policy
from torch import nn

from gnomon.core.batches import TokenGroups
from gnomon.models.adapters import merged
from gnomon.models.engine import onednn_weights as module
from gnomon.models.engine.device import Compute, Processor, processor
from gnomon.models.engine.onednn_weights import prepacked
from gnomon.models.settings import Trainable


def in_place(model: Any) -> list[str]:
    """Layers whose `forward` is another than their class's."""
    return [name for name, layer in model.network.named_modules() if "forward" in layer.__dict__]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_the_same_numbers(kind: str, groups: TokenGroups) -> None:
    policy = tiny_policy(kind=kind, layers=3)
    with torch.no_grad():
        plain = policy.logprobs(groups)
        with prepacked(policy):
            assert "lm_head" in in_place(policy)
            torch.testing.assert_close(policy.logprobs(groups), plain, atol=1e-5, rtol=1e-5)
        assert not in_place(policy)
        assert torch.equal(policy.logprobs(groups), plain)


def test_with_the_adapter_added(groups: TokenGroups) -> None:
    policy = tiny_policy(layers=3, trainable=Trainable(layers=2, rank=4))
    for weight in policy.trainable().values():
        nn.init.normal_(weight.data, std=0.2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = policy.logprobs(groups)
        assert (plain - policy.reference_logprobs(groups)).abs().max() > 0.1
        with merged(policy), prepacked(policy):
            torch.testing.assert_close(policy.logprobs(groups), plain, atol=1e-4, rtol=0)


def test_a_bias_and_any_number_of_rows() -> None:
    policy = tiny_policy()
    policy.network.lm_head = nn.Linear(32, 61)
    rows = torch.randn(2, 77, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for states in (rows, rows[0, :1], rows[0, 0]):
            plain = policy.network.lm_head(states)
            with prepacked(policy):
                torch.testing.assert_close(policy.network.lm_head(states), plain, atol=1e-5, rtol=1e-5)


def test_layers_are_restored_after_a_failure() -> None:
    policy = tiny_policy()
    with pytest.raises(KeyError), prepacked(policy):
        raise KeyError
    assert not in_place(policy)


packs_bfloat16 = pytest.mark.skipif(not processor().packs_bfloat16, reason="no bfloat16 products in oneDNN here")


@packs_bfloat16
def test_in_bfloat16_the_numbers_of_autocast(groups: TokenGroups, monkeypatch: pytest.MonkeyPatch) -> None:
    """All products but the head's; sums may be rounded in another order where weights are packed."""
    policy = tiny_policy(layers=3, trainable=Trainable(layers=2, rank=4))
    policy.compute = Compute(policy.device, torch.bfloat16)
    matrices = {n: p for n, p in policy.network.named_parameters() if n.endswith("proj.weight")}
    with torch.no_grad():
        plain = policy.logprobs(groups)
        with prepacked(policy):
            assert len(in_place(policy)) > 20
            assert {p.dtype for p in matrices.values()} == {torch.float32}  # no second copy
            torch.testing.assert_close(policy.logprobs(groups), plain, atol=0.1, rtol=0)
        monkeypatch.setattr(module, "has_onednn", lambda: False)
        with prepacked(policy):  # converted only
            assert not in_place(policy)
            assert {p.dtype for p in matrices.values()} == {torch.bfloat16}
            assert torch.equal(policy.logprobs(groups), plain)
    assert not in_place(policy)
    assert {p.dtype for p in policy.network.parameters()} == {torch.float32}


def test_without_bfloat16_products_only_the_head_is_packed(
    groups: TokenGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tiny_policy(layers=3)
    policy.compute = Compute(policy.device, torch.bfloat16)
    monkeypatch.setattr(module, "processor", Processor)
    with torch.no_grad():
        plain = policy.logprobs(groups)
        with prepacked(policy):
            assert in_place(policy) == ["lm_head"]
            matrices = [p for n, p in policy.network.named_parameters() if n.endswith("proj.weight")]
            assert {p.dtype for p in matrices} == {torch.bfloat16}  # converted once
            torch.testing.assert_close(policy.logprobs(groups), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=packs_bfloat16)])
def test_a_limit_and_other_builds_of_torch(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy()
    policy.compute = Compute(policy.device, dtype)
    monkeypatch.setattr(module, "LIMIT", 2 * policy.network.lm_head.weight.nbytes)
    with prepacked(policy):
        packed = {name: policy.network.get_submodule(name) for name in in_place(policy)}
        head = packed.pop("lm_head").weight.nbytes
        assert 0 < head + sum(p.weight.numel() * dtype.itemsize for p in packed.values()) <= module.LIMIT
        assert packed
    monkeypatch.setattr(module, "has_onednn", lambda: False)
    with prepacked(policy):
        assert not in_place(policy)
