"""The SFT term beside another loss: its gradient, its metric, its batches."""

from __future__ import annotations

import pytest
import torch
from loops import demonstrations
from tiny import tiny_policy

from gnomon.data.batching import collate_demonstrations, totals_of
from gnomon.models.settings import Trainable
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.micro_batching import TokenBudget
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.runtime.sft_mix import AuxiliarySFT


@pytest.mark.parametrize("tokens", [10_000, 1], ids=["together", "one by one"])
def test_it_adds_the_gradient_of_the_weighted_mean_loss(tokens: int) -> None:
    """As autograd has it of −0.3·mean log π over the step's tokens; the metric is the loss without the weight."""
    models = TrainedModels(tiny_policy(trainable=Trainable(adapter="none")))
    task = AuxiliarySFT(demonstrations(), weight=0.3, batch_size=3, seed=0)
    metric = task.backward(models, 1, Processes(), TokenBudget(tokens))
    weights = models.policy.trainable()
    added = {name: p.grad.clone() for name, p in weights.items() if p.grad is not None}
    for parameter in weights.values():
        parameter.grad = None
    batch = collate_demonstrations(task._batch(1), totals_of(task._batch(1)))
    logprobs, mask = models.policy.logprobs(batch.tokens), batch.tokens.mask
    loss = -logprobs[mask].mean()
    (0.3 * loss).backward()  # type: ignore[no-untyped-call]
    assert added
    for name, gradient in added.items():
        expected = weights[name].grad
        assert expected is not None
        torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)
    assert metric["sft_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_each_step_sees_the_next_and_a_round_sees_all_once() -> None:
    task = AuxiliarySFT(demonstrations(), weight=1.0, batch_size=2, seed=0)
    count = len(task.examples)
    first = [id(one) for step in range(1, count + 1) for one in task._batch(step)]
    assert sorted(first[:count]) == sorted(map(id, task.examples)) == sorted(first[count : 2 * count])
    assert task.tokens(1) == sum(one.cost for one in task._batch(1))
