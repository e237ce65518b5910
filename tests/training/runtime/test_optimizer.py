"""The schedule by hand, weight decay, clipping, and the refusal of what is not finite."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from gnomon.core.config import validate
from gnomon.core.errors import ConfigError, NotFiniteError
from gnomon.training.runtime.memory_profile import MOMENTS
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.settings import OptimizerSettings


def new_optimizer(planned: int = 10, **settings: Any) -> tuple[Optimizer, nn.Parameter, nn.Parameter]:
    matrix, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    chosen = OptimizerSettings(**{"learning_rate": 0.1, **settings})
    return Optimizer([({"matrix": matrix}, 0.1), ({"bias": bias}, 0.01)], chosen, planned), matrix, bias


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # two of ten steps of warm-up, then eight
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("cosine", [0.5, 1, *(0.5 + 0.5 * math.cos(math.pi * k / 8) for k in range(8))]),
    ],
)
def test_schedule_hand_numbers(schedule: str, expected: list[float]) -> None:
    optimizer, matrix, bias = new_optimizer(warmup=0.2, schedule=schedule)
    factors = []
    for _ in range(10):
        factors.append(optimizer.factor)
        matrix.grad, bias.grad = torch.ones_like(matrix), torch.ones_like(bias)
        optimizer.step()
        assert [g["lr"] for g in optimizer.adam.param_groups] == pytest.approx(
            [0.1 * factors[-1], 0.01 * factors[-1]]
        )
    assert factors == pytest.approx(expected)
    assert optimizer.step_count == 10


def test_the_linear_schedule_ends_at_nothing() -> None:
    optimizer, *_ = new_optimizer(warmup=0.0, schedule="linear")
    optimizer.step_count = 10
    assert optimizer.factor == 0.0


def test_one_adam_step_by_hand() -> None:
    """The first step of Adam is the rate times the gradient's sign; each group has its own rate."""
    optimizer, matrix, bias = new_optimizer(warmup=0.0, schedule="constant")
    matrix.grad, bias.grad = torch.full((2, 2), 0.3), torch.full((2,), -0.2)
    norm = optimizer.step()
    assert norm == pytest.approx(math.sqrt(4 * 0.09 + 2 * 0.04))
    assert matrix.flatten().tolist() == pytest.approx([0.9] * 4, abs=1e-5)
    assert bias.tolist() == pytest.approx([1.01] * 2, abs=1e-5)
    assert matrix.grad is None


def test_weight_decay_is_for_matrices_only() -> None:
    """Decoupled: 1 − rate·decay = 1 − 0.1·0.5, without gradient nothing else."""
    optimizer, matrix, bias = new_optimizer(warmup=0.0, schedule="constant", weight_decay=0.5)
    matrix.grad, bias.grad = torch.zeros_like(matrix), torch.zeros_like(bias)
    optimizer.step()
    assert matrix.flatten().tolist() == pytest.approx([0.95] * 4)
    assert bias.tolist() == [1.0, 1.0]


def test_a_large_gradient_is_scaled_down_and_reported_as_it_was() -> None:
    """With β₁ = 0 and a huge ε the step is rate·g/ε: visible, unlike in Adam's sign."""
    optimizer, matrix, bias = new_optimizer(warmup=0.0, schedule="constant", betas=(0.0, 0.0), epsilon=1e3)
    matrix.grad, bias.grad = torch.full((2, 2), 30.0), torch.zeros(2)
    assert optimizer.step() == pytest.approx(60.0)
    assert (1 - matrix).flatten().tolist() == pytest.approx([0.1 * 0.5 / 1000.5] * 4, rel=1e-2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_is_refused_and_nothing_changes(bad: float) -> None:
    optimizer, matrix, bias = new_optimizer(warmup=0.0, weight_decay=0.5)
    matrix.grad, bias.grad = torch.ones_like(matrix), torch.ones_like(bias)
    optimizer.step()
    before = [matrix.clone(), bias.clone(), *optimizer.tensors().values()]
    matrix.grad, bias.grad = torch.ones_like(matrix), torch.tensor([1.0, bad])
    with pytest.raises(NotFiniteError, match="optimizer step 2 is not finite"):
        optimizer.step()
    after = [matrix, bias, *optimizer.tensors().values()]
    assert len(after) == 8
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert optimizer.step_count == 1


def test_moments_come_back_from_a_checkpoint() -> None:
    one, matrix, bias = new_optimizer()
    for scale in (1.0, -2.0):
        matrix.grad, bias.grad = scale * torch.ones_like(matrix), torch.ones_like(bias)
        one.step()
    other, matrix_too, bias_too = new_optimizer()
    with torch.no_grad():
        matrix_too.copy_(matrix)
        bias_too.copy_(bias)
    other.restore(one.tensors(), one.step_count)
    for optimizer, weights in ((one, (matrix, bias)), (other, (matrix_too, bias_too))):
        for weight in weights:
            weight.grad = 0.5 * torch.ones_like(weight)
        optimizer.step()
    assert torch.equal(matrix, matrix_too)
    assert torch.equal(bias, bias_too)


def eight_bit(seed: int = 0) -> tuple[Optimizer, nn.Parameter]:
    """A matrix large enough for blocks; bitsandbytes keeps what has fewer than 4,096 entries in float32."""
    weight = nn.Parameter(torch.randn(64, 128, generator=torch.Generator().manual_seed(seed)))
    chosen = OptimizerSettings(learning_rate=0.1, warmup=0.0, schedule="constant", optimizer="adamw_8bit")
    return Optimizer([({"weight": weight}, 0.1)], chosen, 10), weight


def test_moments_of_eight_bits_take_a_quarter_and_step_as_adam_does() -> None:
    optimizer, weight = eight_bit()
    plain = weight.detach().clone().requires_grad_()
    adam = torch.optim.AdamW([plain], lr=0.1, weight_decay=0.0)
    draw, moved = torch.Generator().manual_seed(1), torch.zeros_like(weight)
    for _ in range(5):
        gradient = torch.randn(weight.shape, generator=draw) * 1e-3
        weight.grad, plain.grad = gradient.clone(), gradient
        before = plain.detach().clone()
        optimizer.step()
        adam.step()
        moved += (plain - before).abs().detach()
    states = {key.rpartition("|")[2]: value for key, value in optimizer.tensors().items()}
    assert states["state1"].dtype == states["state2"].dtype == torch.uint8
    blocks = sum(value.nbytes for key, value in states.items() if key.startswith(("state", "absmax")))
    assert blocks == int(MOMENTS["adamw_8bit"] * weight.nbytes)
    assert (weight - plain).abs().sum() < 0.05 * moved.sum()  # of the way


def test_moments_of_eight_bits_come_back_from_a_checkpoint() -> None:
    one, weight = eight_bit()
    for scale in (1.0, -2.0):
        weight.grad = scale * torch.ones_like(weight)
        one.step()
    other, too = eight_bit(seed=1)
    with torch.no_grad():
        too.copy_(weight)
    other.restore(one.tensors(), one.step_count)
    for optimizer, of in ((one, weight), (other, too)):
        of.grad = 0.5 * torch.ones_like(of)
        optimizer.step()
    assert torch.equal(weight, too)
    assert [optimizer.adam.state[of]["step"] for optimizer, of in ((one, weight), (other, too))] == [3, 3]


def test_eight_bits_without_the_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.training.settings.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match="optimizer: adamw_8bit needs bitsandbytes; run pip install bitsandbytes"
    ):
        validate(OptimizerSettings, {"optimizer": "adamw_8bit"}, "training")
