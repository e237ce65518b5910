"""Dropout: on in the passes that learn and nowhere else, the same again after a stop and in any process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loops import LORA, Killed, offline, recorded, weights_of
from tiny import ragged_groups, shake, tiny_policy, tiny_reward_model
from torch import Tensor

from gnomon.algorithms.dpo import DPO
from gnomon.algorithms.kto import KTO
from gnomon.algorithms.reward_model import RewardModeling
from gnomon.core.errors import ConfigError, Interrupted
from gnomon.core.progress import StopSignal
from gnomon.models.engine.dropout import DropoutMasks
from gnomon.training.runtime.model_bundle import TrainedModels

DROP: dict[str, Any] = {"adapter_dropout": 0.4}


def judge() -> TrainedModels:
    return TrainedModels(tiny_reward_model(trainable=LORA))


def gradient_of(
    model: Any, groups: Any, *, key: str | None, adapter: float = 0.5, head: float = 0.0
) -> list[Tensor]:
    """The gradient of the sum of log-probs or scores, under the masks of `key` if there is one."""
    forward = model.logprobs if hasattr(model, "logprobs") else model.scores
    loss = forward(groups).sum() if key is None else None
    if loss is None:
        with model.dropout(adapter=adapter, head=head, key=key):
            loss = forward(groups).sum()
            return list(torch.autograd.grad(loss, list(model.trainable().values())))
    return list(torch.autograd.grad(loss, list(model.trainable().values())))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_mask_drops_its_share_and_keeps_the_mean() -> None:
    """Of a million entries 30% ± 5 standard errors (0.0005 each), the rest divided by 0.7."""
    masks, ones = DropoutMasks(0.3, 0.0, "a"), torch.ones(1000, 1000)
    dropped = masks.drop(ones, 0.3, "x")
    assert float((dropped == 0).double().mean()) == pytest.approx(0.3, abs=0.0025)
    torch.testing.assert_close(torch.unique(dropped), torch.tensor([0.0, 1 / 0.7]))
    assert not torch.equal(dropped, masks.drop(ones, 0.3, "y"))
    assert torch.equal(dropped, masks.drop(ones, 0.3, "x"))
    with torch.no_grad():
        assert masks.drop(ones, 0.3, "x") is ones


@pytest.mark.parametrize("kind", ["policy", "judge"])
def test_masks_depend_on_the_step_and_the_tokens_alone(kind: str) -> None:
    model = tiny_policy(trainable=LORA) if kind == "policy" else tiny_reward_model(trainable=LORA)
    groups, head = ragged_groups(), 0.0 if kind == "policy" else 0.5
    plain = gradient_of(model, groups, key=None)
    first = gradient_of(model, groups, key="3 0", head=head)
    gradient_of(model, groups.select([1, 3]), key="3 0", head=head)
    assert same(first, gradient_of(model, groups, key="3 0", head=head))
    for key in ("3 1", "4 0"):
        assert not same(first, gradient_of(model, groups, key=key, head=head))
    assert not same(first, plain)
    assert same(plain, gradient_of(model, groups, key=None))  # nothing is left behind
    torch.manual_seed(1)
    assert same(first, gradient_of(model, groups, key="3 0", head=head))


def test_passes_without_a_gradient_drop_nothing() -> None:
    model, groups = tiny_reward_model(trainable=LORA), ragged_groups()
    policy = tiny_policy(trainable=LORA)
    with torch.no_grad():
        expected = model.scores(groups), policy.logprobs(groups), policy.reference_logprobs(groups)
        with model.dropout(adapter=0.5, head=0.5, key="a"), policy.dropout(adapter=0.5, head=0, key="a"):
            outputs = model.scores(groups), policy.logprobs(groups), policy.reference_logprobs(groups)
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))


def test_layers_that_are_computed_again_meet_the_same_masks() -> None:
    """Also where another micro-batch was read in between."""
    groups, policy = ragged_groups(), tiny_policy(trainable=LORA, layers=3)
    plain = gradient_of(policy, groups, key="3 0")
    policy.checkpoint_gradients(True)
    with policy.dropout(adapter=0.5, head=0.0, key="3 0"):
        loss = policy.logprobs(groups).sum()
        policy.logprobs(groups.select([0])).sum()
        replay = torch.autograd.grad(loss, list(policy.trainable().values()))
    for one, other in zip(plain, replay, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_it_changes_what_is_learned_and_zero_changes_nothing(tmp_path: Path) -> None:
    plain, zero = offline(tmp_path / "a"), offline(tmp_path / "b", adapter_dropout=0.0)
    dropped = offline(tmp_path / "c", **DROP)
    assert same(weights_of(plain), weights_of(zero))
    assert not same(weights_of(plain), weights_of(dropped))


@pytest.mark.parametrize("call", [2, 5])
@pytest.mark.parametrize("kind", ["sft", "judge"])
def test_a_run_goes_on_bit_for_bit(tmp_path: Path, kind: str, call: int) -> None:
    def run(folder: Path, **more: Any) -> TrainedModels:
        settings = {**DROP, **({"head_dropout": 0.3, "algorithm": RewardModeling()} if kind == "judge" else {})}
        return offline(folder, models=judge() if kind == "judge" else None, **settings, **more)

    expected, stop = run(tmp_path / "whole"), StopSignal()

    def request_stop(n: int) -> None:
        stop.requested = stop.requested or n == call

    def kill(n: int) -> None:
        if n == 2:
            raise Killed

    with pytest.raises(Interrupted):
        run(tmp_path / "cut", before=request_stop, stop=stop)
    with pytest.raises(Killed):
        run(tmp_path / "cut", before=kill)
    resumed = run(tmp_path / "cut")
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    assert same(weights_of(resumed), weights_of(expected))


def test_micro_batches_have_masks_of_their_own_in_whichever_process(tmp_path: Path) -> None:
    """Two processes take turns with the micro-batches that one would see: the sum of their gradients is its."""
    policy, groups = tiny_policy(trainable=LORA), ragged_groups()
    parts = [groups.select([0, 2, 5]), groups.select([1, 4]), groups.select([3])]

    def total(chosen: list[Any]) -> list[Tensor]:
        gradients = [gradient_of(policy, part, key="3 7") for part in chosen]
        return [torch.stack(rows).sum(0) for rows in zip(*gradients, strict=True)]

    alone, shared = total(parts), [total(parts[0::2]), total(parts[1::2])]
    for one, two in zip(alone, zip(*shared, strict=True), strict=True):
        torch.testing.assert_close(one, two[0] + two[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("algorithm", [DPO(), KTO()])
def test_references_surveys_and_validations_are_without_it(tmp_path: Path, algorithm: Any) -> None:
    """At a rate that moves nothing: what is measured is the same with dropout, what is learned from is not."""
    rows = []
    for share in (0.0, 0.5):
        models = TrainedModels(tiny_policy(trainable=LORA))
        shake(models.trained, by=0.3)
        held = {"share": 0.3, "every": 1, "patience": None}
        offline(
            tmp_path / str(share),
            models=models,
            algorithm=algorithm,
            learning_rate=1e-12,
            validation=held,
            adapter_dropout=share,
        )
        rows.append(recorded(tmp_path / str(share)))
    same_names = ["validation_loss", *(["baseline"] if isinstance(algorithm, KTO) else [])]
    for plain, dropped in zip(*rows, strict=True):
        assert [dropped[n] for n in same_names] == pytest.approx([plain[n] for n in same_names], abs=1e-6)
        assert abs(dropped["loss"] - plain["loss"]) > 1e-4


def test_dropout_of_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="head_dropout is for reward models"):
        offline(tmp_path, head_dropout=0.1)
    full = TrainedModels(tiny_policy(trainable=LORA.model_copy(update={"adapter": "none"})))
    with pytest.raises(ConfigError, match="adapter_dropout needs adapter: lora"):
        offline(tmp_path, models=full, **DROP)
