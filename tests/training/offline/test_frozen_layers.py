"""Frozen lower layers run once for tokens that come again, and no number of a loop knows of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import Killed, offline, online, recorded, weights_of
from test_offline_kinds import ALGORITHMS, kinds, train
from tiny import tiny_policy
from torch import Tensor

from gnomon.models.adapters import decoder_layers
from gnomon.models.settings import Trainable
from gnomon.training.runtime.model_bundle import TrainedModels

UPPER = Trainable(rank=4, layers=1)


def counted(models: TrainedModels) -> list[int]:
    """How often the lowest layer of the model that learns has run, in a list of one."""
    runs = [0]
    lowest: Any = decoder_layers(models.trained.trunk)[0]
    lowest.mlp.register_forward_pre_hook(lambda *_: runs.append(runs.pop() + 1))
    return runs


def alike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)


def close(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=kinds)
def test_stored_judgements(algorithm: Any, tmp_path: Path) -> None:
    """The reference's pass is the only one that runs the lower layers; a trial of three comes before it."""
    results = {}
    for name, gigabytes in (("without", 0.0), ("with", 1.0)):
        models = TrainedModels(tiny_policy(trainable=UPPER))
        runs = counted(models)
        train(tmp_path / name, algorithm, models=models, activation_cache_gb=gigabytes)
        results[name] = runs[0], weights_of(models)
        assert models.policy._frozen is None  # the memory is given back
    alike(recorded(tmp_path / "with"), recorded(tmp_path / "without"))
    close(results["with"][1], results["without"][1])
    assert results["with"][0] == 4 <= results["without"][0] - 1  # a trial of three, and the reference's own


def test_epochs_of_demonstrations(tmp_path: Path) -> None:
    """Ten examples, seven steps: the lower layers run for one pass over all of them, after a trial of three."""
    runs = {}
    for gigabytes in (0.0, 1.0):
        models = TrainedModels(tiny_policy(trainable=UPPER))
        runs[gigabytes] = counted(models)
        offline(tmp_path / str(gigabytes), models=models, activation_cache_gb=gigabytes)
    alike(recorded(tmp_path / "1.0"), recorded(tmp_path / "0.0"))
    assert runs[0.0] == [7]
    assert runs[1.0] == [3 + 1]


def test_rounds(tmp_path: Path, words: Any) -> None:
    """Of the passes of a round the reference's runs the lower layers, those of four minibatches do not."""
    run_counts = {}
    for gigabytes in (0.0, 1.0):
        loop = online(tmp_path / str(gigabytes), words, trainable=UPPER, activation_cache_gb=gigabytes)
        runs = counted(loop.models)
        loop.run()
        run_counts[gigabytes] = runs[0]
        assert loop.models.policy._frozen is None
    alike(recorded(tmp_path / "1.0"), recorded(tmp_path / "0.0"))
    assert run_counts[0.0] - run_counts[1.0] == 4 * 4 - 3


@pytest.mark.parametrize("call", [2, 5])
def test_killed_and_resumed_they_are_the_same_to_the_last_bit(tmp_path: Path, call: int) -> None:
    """In the first epoch and in the second, whose states another process had kept."""

    def run(name: str, before: Callable[[int], None] = lambda n: None) -> list[Tensor]:
        models = TrainedModels(tiny_policy(trainable=UPPER, layers=3))
        offline(tmp_path / name, models=models, before=before, checkpoint_seconds=0.0)
        return weights_of(models)

    def die(n: int) -> None:
        if n == call:
            raise Killed

    whole = run("whole")
    with pytest.raises(Killed):
        run("cut", die)
    resumed = run("cut")
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(resumed, whole, strict=True))
