"""Fused norms: the numbers and gradients of the architecture's own, and only for modules that equal RMSNorm."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny import tiny_network
from torch import Tensor, nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from gnomon.models.engine.fused_rmsnorm import fuse_rms_norms, rms_norm


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def holding(kind: Any) -> nn.ModuleList:
    """A network of one norm with weights of its own."""
    norm = kind(16)
    nn.init.normal_(norm.weight, mean=0.5, generator=torch.Generator().manual_seed(1))
    return nn.ModuleList([norm])


def said_and_learned(norm: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Its output, and the gradients of the input and the weight."""
    states = normal(4, 7, 16).requires_grad_()
    result = norm(states)
    result.square().sum().backward()
    assert states.grad is not None
    return result, states.grad, norm.weight.grad


def test_by_hand() -> None:
    """x = (3, 4): the mean square is 12.5."""
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            result = rms_norm(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 10.0]), 0.0)
        torch.testing.assert_close(result, torch.tensor([[3.0, 40.0]]) / 12.5**0.5)


def test_gradients() -> None:
    states = normal(2, 3, 5, dtype=torch.float64).requires_grad_()
    weight = normal(5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, w: rms_norm(s, w, 0.1), (states, weight))
    assert torch.autograd.gradcheck(lambda s: rms_norm(s, weight.detach(), 0.1), (states,))


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen3RMSNorm])
def test_the_same_as_the_architecture_s_own(kind: Any) -> None:
    network = holding(kind)
    plain = copy.deepcopy(network)
    fuse_rms_norms(network)
    assert type(network[0]) is not kind
    assert isinstance(network[0], kind)
    ours, expected = (said_and_learned(n[0]) for n in (network, plain))
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_other_norms_and_lower_precision_stay_as_they_are() -> None:
    """Gemma multiplies by 1 + weight; a norm with weights of bfloat16 rounds before it multiplies."""
    for network in (holding(GemmaRMSNorm), holding(LlamaRMSNorm).bfloat16(), nn.ModuleList([nn.LayerNorm(16)])):
        kind = type(network[0])
        fuse_rms_norms(network)
        assert type(network[0]) is kind
    network = holding(LlamaRMSNorm)
    fuse_rms_norms(network)
    states = normal(3, 16).bfloat16()
    assert torch.equal(network[0](states), LlamaRMSNorm.forward(network[0], states))


def test_a_copy_has_weights_of_its_own_and_a_second_time_changes_nothing() -> None:
    network = tiny_network()
    fuse_rms_norms(network)
    kinds = {type(m) for m in network.modules()}
    assert {k.__name__ for k in kinds} & {"FusedLlamaRMSNorm"}
    fuse_rms_norms(network)
    assert {type(m) for m in network.modules()} == kinds
    other = copy.deepcopy(network)
    ids = torch.arange(5)[None]
    with torch.no_grad():
        before = network(ids).logits
        for module in other.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.get_parameter("weight").mul_(2)
        assert torch.equal(network(ids).logits, before)
        assert not torch.allclose(other(ids).logits, before)
