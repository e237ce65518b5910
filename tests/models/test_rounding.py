"""Frozen models in half the memory: the same numbers to the last bit."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from tiny import tiny_policy

from gnomon.core.batches import TokenGroups
from gnomon.models.engine.device import Compute
from gnomon.models.settings import Trainable

ROUGH = Compute(torch.device("cpu"), torch.bfloat16)


def size(weights: Any) -> int:
    return sum(weight.nbytes for weight in weights)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_rounded_weights_give_the_same_outputs(kind: str, groups: TokenGroups) -> None:
    model = tiny_policy(kind=kind)
    model.compute = ROUGH
    with torch.no_grad():
        before, whole = model.logprobs(groups), size(model.network.parameters())
        model.round_weights()
        assert torch.equal(model.logprobs(groups), before)
    matrices = size(layer.weight for layer in model.linear_layers())
    assert size(model.network.parameters()) == whole - matrices  # each had twice of what it has
    assert matrices > 0


@pytest.mark.parametrize("trainable", [Trainable(layers=2, rank=4), Trainable(adapter="none", layers=1)])
def test_rounded_frozen_weights_do_not_change_training(trainable: Trainable, groups: TokenGroups) -> None:
    policy = tiny_policy(layers=3, trainable=trainable)
    policy.compute = ROUGH
    held = {name: (p.data, p.detach().clone()) for name, p in policy.network.named_parameters()}
    result = []
    for context in (nullcontext(), policy.rounded()):
        with context:
            logprobs = policy.logprobs(groups)
            logprobs.sum().backward()  # type: ignore[no-untyped-call]
            dtypes = {layer.weight.dtype for layer in policy.linear_layers()}
        result.append([logprobs, *(p.grad for p in policy.trainable().values())])
        policy.network.zero_grad()
    assert dtypes == {torch.float32, torch.bfloat16}
    assert all(torch.equal(one, other) for one, other in zip(*result, strict=True))
    for name, parameter in policy.network.named_parameters():
        storage, before = held[name]
        assert parameter.data_ptr() == storage.data_ptr()
        assert torch.equal(parameter, before)


def test_float32_models_and_trained_weights_are_not_rounded() -> None:
    exact, learning = tiny_policy(), tiny_policy(layers=3, trainable=Trainable(adapter="none", layers=1))
    learning.compute = ROUGH
    for policy in (exact, learning):
        policy.round_weights()
    assert {p.dtype for p in exact.network.parameters()} == {torch.float32}
    assert {p.dtype for p in learning.trainable().values()} == {torch.float32}
    assert torch.bfloat16 in {p.dtype for p in learning.network.parameters()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_policy_is_its_own_reference(dtype: torch.dtype, groups: TokenGroups) -> None:
    policy = tiny_policy(trainable=Trainable(adapter="none"))
    policy.compute = Compute(policy.device, dtype)
    with torch.no_grad():
        before, kept = policy.logprobs(groups), policy.reference_weights()
        for parameter in policy.trainable().values():
            parameter.mul_(1.1)
        assert not torch.equal(policy.logprobs(groups), before)
        with policy.reference_mode(kept):
            assert torch.equal(policy.logprobs(groups), before)
    assert {p.dtype for p in policy.trainable().values()} == {torch.float32}
    assert (size(kept.values()) < size(policy.trainable().values())) == (dtype == torch.bfloat16)
