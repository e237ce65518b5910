"""What a folder of checkpoints holds: the newest whole one, with all that it was given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gnomon.core.errors import RunError
from gnomon.training.runtime.checkpoints import load_checkpoint, newest_step, save_checkpoint
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.settings import OptimizerSettings


def learned(value: float) -> tuple[dict[str, nn.Parameter], Optimizer]:
    """A weight that took one step, so that the optimizer has moments."""
    weights = {"w": nn.Parameter(torch.tensor([value, value]))}
    optimizer = Optimizer([(weights, 0.1)], OptimizerSettings(warmup=0, schedule="constant"), total_steps=1)
    weights["w"].grad = torch.tensor([1.0, -1.0])
    optimizer.step()
    return weights, optimizer


def test_the_newest_replaces_those_before(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        weights, optimizer = learned(float(step))
        save_checkpoint(tmp_path, step, weights, optimizer, {"seen": step})
    assert [path.name for path in tmp_path.iterdir()] == ["00000010"]
    assert newest_step(tmp_path) == 10


def test_all_that_was_saved_comes_back(tmp_path: Path) -> None:
    weights, optimizer = learned(3.0)
    save_checkpoint(tmp_path, 4, weights, optimizer, {"seen": 7}, {"best": torch.tensor([5.0])})
    fresh, other = learned(0.0)
    state = load_checkpoint(tmp_path, fresh, other)
    assert state is not None
    assert (state["seen"], state["step"]) == (7, 4)
    assert torch.equal(state["extra"]["best"], torch.tensor([5.0]))
    assert torch.equal(fresh["w"], weights["w"])
    before, after = optimizer.tensors(), other.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_checkpoint_that_a_crash_cut_short_is_none(tmp_path: Path) -> None:
    weights, optimizer = learned(1.0)
    save_checkpoint(tmp_path, 3, weights, optimizer, {})
    (tmp_path / "00000009").mkdir()
    assert newest_step(tmp_path) == 3
    with pytest.raises(RunError, match="belongs to another model"):
        load_checkpoint(tmp_path, {"v": nn.Parameter(torch.zeros(2))}, optimizer)
