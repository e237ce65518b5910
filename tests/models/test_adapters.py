"""Trainable weights, adapters, and the reference without the adapter."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from tiny import tiny_network, tiny_policy

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.adapters import make_trainable, merged
from gnomon.models.engine.device import Compute
from gnomon.models.roles import Policy
from gnomon.models.settings import Trainable


def train(policy: Policy, groups: TokenGroups, steps: int = 3) -> None:
    optimizer = torch.optim.AdamW(policy.trainable().values(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        (-policy.logprobs(groups).mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_reference_is_the_adapter_switched_off(kind: str, groups: TokenGroups) -> None:
    policy = tiny_policy(kind=kind, layers=3, trainable=Trainable(layers=2, rank=4))
    with torch.no_grad():
        before = policy.logprobs(groups, temperature=0.8)
    assert torch.equal(policy.reference_logprobs(groups, temperature=0.8), before)
    train(policy, groups)
    after = policy.logprobs(groups, temperature=0.8)
    assert (after - before).abs().max() > 0.1
    assert torch.equal(policy.reference_logprobs(groups, temperature=0.8), before)
    assert torch.equal(policy.logprobs(groups, temperature=0.8), after)  # switched on again
    assert not policy.reference_logprobs(groups).requires_grad


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "settings"), [("mamba", {"state_size": 4}), ("falcon_mamba", {"state_size": 4}), ("jamba", {})]
)
def test_every_adapter_of_a_state_space_model_gets_a_gradient(
    kind: str, settings: dict[str, Any], groups: TokenGroups
) -> None:
    policy = tiny_policy(kind=kind, trainable=Trainable(rank=2), **settings)
    (-policy.logprobs(groups).mean()).backward()  # type: ignore[no-untyped-call]
    upper = {name: p for name, p in policy.trainable().items() if "lora_B" in name}
    assert {name.split(".")[-4] for name in upper} >= {"in_proj", "x_proj"}
    assert [name for name, p in upper.items() if p.grad is None or not p.grad.abs().any()] == []


def test_a_refusal_by_peft_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("Module 'x' is incompatible")

    monkeypatch.setattr("peft.get_peft_model", refuse)
    with pytest.raises(ModelError, match=r"Module 'x' is incompatible\); set adapter: none"):
        tiny_policy(trainable=Trainable(rank=2))


def test_a_policy_without_adapter_has_no_reference_inside(groups: TokenGroups) -> None:
    with pytest.raises(ModelError, match="no adapter to disable"):
        tiny_policy().reference_logprobs(groups)


@pytest.mark.parametrize("adapter", ["lora", "none"])
def test_only_the_upper_layers_learn(adapter: str, groups: TokenGroups) -> None:
    policy = tiny_policy(layers=3, trainable=Trainable(adapter=adapter, layers=2))
    frozen = {n: p.detach().clone() for n, p in policy.network.named_parameters() if not p.requires_grad}
    learning = policy.trainable()
    assert {name.split(".")[2] for name in learning} == {"1", "2"}
    assert all(("lora" in name) == (adapter == "lora") for name in learning)
    train(policy, groups)
    now = dict(policy.network.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())
    assert all(now[name].grad is None for name in frozen)
    assert all(p.grad is not None for p in learning.values())
    counts = policy.parameter_counts()
    assert 0 < counts["trainable"] < counts["total"]


def shared_block_policy(trainable: Trainable) -> Policy:
    """Its second layer holds a matrix of its first, as models do that use a block several times."""
    network = tiny_network(layers=3)
    first, second, _ = network.model.layers
    second.mlp.up_proj.weight = first.mlp.up_proj.weight
    return Policy(network, None, Compute(torch.device("cpu"), torch.float32), make_trainable(network, trainable))


def test_layers_that_share_a_weight_share_its_adapter(groups: TokenGroups) -> None:
    """With one each, sampling would merge the last of them alone, and saving would add up all."""
    policy = shared_block_policy(Trainable(rank=4))
    train(policy, groups)
    with torch.no_grad():
        learned = policy.logprobs(groups)
        with merged(policy):
            torch.testing.assert_close(policy.logprobs(groups), learned, atol=1e-4, rtol=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            network = policy.plain_network()
        torch.testing.assert_close(policy.logprobs(groups), learned, atol=1e-4, rtol=0)
    first, second, _ = network.model.layers
    assert first.mlp.up_proj.weight is second.mlp.up_proj.weight  # as in the model that it was


def test_layers_that_share_weights_with_lower_ones_cannot_learn_alone() -> None:
    with pytest.raises(ModelError, match="upper 2 layers of the model share weights with lower ones; set layers"):
        shared_block_policy(Trainable(layers=2, rank=4))
    shared_block_policy(Trainable(layers=1, rank=4))


def test_every_linear_layer_of_a_block_gets_an_adapter() -> None:
    policy = tiny_policy(layers=2, trainable=Trainable(layers=1))
    adapted = {name.rpartition(".lora")[0].rpartition(".")[2] for name in policy.trainable()}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_all_layers_or_none_can_learn() -> None:
    whole = tiny_policy(trainable=Trainable(adapter="none"))
    assert whole.parameter_counts()["trainable"] == whole.parameter_counts()["total"]
    assert not tiny_policy(trainable=Trainable(adapter="none", layers=0)).trainable()
    assert not tiny_policy(trainable=Trainable(adapter="lora", layers=0)).trainable()


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match="5 layers should learn, but the model has 2"):
        make_trainable(tiny_network(layers=2), Trainable(layers=5))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_merged_computes_the_same_without_the_adapter_and_leaves_every_weight_as_it_was(
    kind: str, groups: TokenGroups
) -> None:
    policy = tiny_policy(kind=kind, layers=3, trainable=Trainable(layers=2, rank=4))
    train(policy, groups)
    kept = {name: (p, p.data_ptr(), p.detach().clone()) for name, p in policy.network.named_parameters()}
    learning = set(policy.trainable())
    with torch.no_grad():
        expected, base = policy.logprobs(groups), policy.reference_logprobs(groups)
        with merged(policy):
            result = policy.logprobs(groups)
            changed = {n for n, p in policy.network.named_parameters() if not torch.equal(p, kept[n][2])}
        with pytest.raises(KeyError), merged(policy):
            raise KeyError
    assert (expected - base).abs().max() > 0.1
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)
    assert changed
    assert all(name.endswith("base_layer.weight") for name in changed)
    for name, parameter in policy.network.named_parameters():
        same, address, before = kept[name]
        assert parameter is same
        assert parameter.data_ptr() == address
        assert torch.equal(parameter, before)
    assert set(policy.trainable()) == learning
    train(policy, groups, steps=1)
    assert not torch.equal(policy.logprobs(groups), expected)


def test_in_a_lower_precision_the_numbers_are_those_of_training(groups: TokenGroups) -> None:
    """The adapter stays beside the weights: a rounded sum would be another policy than the one that learns."""
    policy = tiny_policy(layers=3, trainable=Trainable(layers=2, rank=4))
    policy.compute = Compute(policy.device, torch.bfloat16)
    train(policy, groups)
    with torch.no_grad():
        expected = policy.logprobs(groups)
        with merged(policy):
            assert torch.equal(policy.logprobs(groups), expected)


def test_merged_leaves_a_model_without_adapter_alone(groups: TokenGroups) -> None:
    policy = tiny_policy()
    with torch.no_grad():
        expected = policy.logprobs(groups)
        with merged(policy):
            assert torch.equal(policy.logprobs(groups), expected)
