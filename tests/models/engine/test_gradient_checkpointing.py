"""Gradient checkpointing changes memory, never numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import gradients, shake, tiny_critic, tiny_policy, tiny_reward_model

from gnomon.core.batches import TokenGroups
from gnomon.models.adapters import decoder_layers
from gnomon.models.settings import Trainable

WAYS = [
    Trainable(adapter="none"),
    Trainable(adapter="none", layers=1),
    Trainable(rank=4),
    Trainable(rank=4, layers=1),
]


@pytest.mark.parametrize("trainable", WAYS, ids=str)
@pytest.mark.parametrize("layout", ["branched", "packed", "plain"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_same_gradients(kind: str, layout: Any, trainable: Trainable, groups: TokenGroups) -> None:
    policy = tiny_policy(kind=kind, layers=3, trainable=trainable)
    policy.layout = layout
    shake(policy)
    runs = [0]
    last: Any = decoder_layers(policy.trunk)[-1]
    hook = last.mlp.register_forward_pre_hook(lambda *_: runs.append(runs.pop() + 1))
    result = []
    for on in (False, True):
        policy.checkpoint_gradients(on)
        logprobs = policy.logprobs(groups)
        result.append((logprobs.detach(), gradients(policy, logprobs.square().sum())))
    hook.remove()
    assert runs == [3]  # once plainly; then on the way there and again on the way back
    (plain_values, plain), (values, recomputed) = result
    torch.testing.assert_close(values, plain_values, atol=1e-6, rtol=1e-6)
    assert all(g.abs().max() > 0 for n, g in plain.items() if "lora_B" in n or "mlp" in n)
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize("make", [tiny_reward_model, tiny_critic])
def test_scalar_models_too(make: Any, groups: TokenGroups) -> None:
    result = []
    for on in (False, True):
        model = make(trainable=Trainable(rank=4))
        shake(model)
        model.checkpoint_gradients(on)
        answer = model.scores(groups) if make is tiny_reward_model else model.predict(groups).values
        result.append(gradients(model, answer.square().sum()))
    for name, gradient in result[0].items():
        torch.testing.assert_close(result[1][name], gradient, atol=1e-6, rtol=1e-6, msg=name)


def test_the_reference_and_the_layers_themselves_stay_as_they_were(groups: TokenGroups) -> None:
    policy = tiny_policy(trainable=Trainable(rank=4))
    before = policy.reference_logprobs(groups)
    policy.checkpoint_gradients(True)
    shake(policy)
    policy.logprobs(groups).sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(policy.reference_logprobs(groups), before)
    assert all("forward" not in vars(m) and not m.training for m in policy.network.modules())
