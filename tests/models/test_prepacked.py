"""Weights in oneDNN's blocks: the plain product's numbers, and nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_policy
from torch import nn

from gnomon.core.batches import TokenGroups
from gnomon.models import prepacked as module
from gnomon.models.adapters import Trainable, merged
from gnomon.models.precision import Compute
from gnomon.models.prepacked import prepacked


def replaced(model: Any) -> list[str]:
    """Layers whose `forward` is another than their class's."""
    return [name for name, layer in model.network.named_modules() if "forward" in layer.__dict__]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_the_same_numbers(kind: str, groups: TokenGroups) -> None:
    policy = tiny_policy(kind=kind, layers=3)
    with torch.no_grad():
        plain = policy.logprobs(groups)
        with prepacked(policy):
            assert "lm_head" in replaced(policy)
            torch.testing.assert_close(policy.logprobs(groups), plain, atol=1e-5, rtol=1e-5)
        assert not replaced(policy)
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


def test_a_failure_leaves_nothing_behind() -> None:
    policy = tiny_policy()
    with pytest.raises(KeyError), prepacked(policy):
        raise KeyError
    assert not replaced(policy)


def test_converted_weights_give_the_numbers_of_autocast(groups: TokenGroups) -> None:
    """All products in bfloat16 but the head's; sums may be rounded in another order."""
    policy = tiny_policy(layers=3, trainable=Trainable(layers=2, rank=4))
    policy.compute = Compute(policy.device, torch.bfloat16)
    with torch.no_grad():
        plain = policy.logprobs(groups)
        with merged(policy), prepacked(policy):
            assert len(replaced(policy)) > 20
            torch.testing.assert_close(policy.logprobs(groups), plain, atol=0.1, rtol=0)
    assert not replaced(policy)


def test_a_limit_lower_precision_and_other_builds_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy()
    monkeypatch.setattr(module, "LIMIT", 2 * policy.network.lm_head.weight.nbytes)
    with prepacked(policy):
        packed = [policy.network.get_submodule(name) for name in replaced(policy)]
        assert 0 < sum(layer.weight.nbytes for layer in packed) <= module.LIMIT
    monkeypatch.setattr(module, "LIMIT", 2**30)
    policy.compute = Compute(policy.device, torch.bfloat16)
    with prepacked(policy):
        assert replaced(policy) == ["lm_head"]  # what autocast would convert on each call is not packed
    policy.compute = Compute(policy.device, torch.float32)
    monkeypatch.setattr(module, "_available", lambda: False)
    with prepacked(policy):
        assert not replaced(policy)
