"""The offline loop with stored judgements of every kind: the same numbers however it is cut, or killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loops import LORA, Killed, examples_for, recorded, weights_of
from tiny import tiny_policy

from gnomon.algorithms.bco import BCO
from gnomon.algorithms.dpo import DPO
from gnomon.algorithms.kto import KTO
from gnomon.algorithms.plackett_luce import PlackettLuce
from gnomon.core.progress import StopSignal
from gnomon.training.offline.loop import OfflineLoop
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OfflineSettings

ALGORITHMS = [DPO(), KTO(beta=0.5), BCO(beta=0.5), PlackettLuce()]


def train(folder: Path, algorithm: Any, models: TrainedModels | None = None, **settings: Any) -> TrainedModels:
    chosen = {"epochs": 2.0, "batch_size": 5, "learning_rate": 0.02, "micro_batch_tokens": 10_000} | settings
    models = models or TrainedModels(tiny_policy(trainable=LORA))
    OfflineLoop(
        algorithm=algorithm,
        models=models,
        examples=examples_for(algorithm),
        settings=OfflineSettings(**chosen),
        folder=folder,
        seed=3,
        stop=StopSignal(),
        label="judged",
    ).run()
    return models


def kinds(algorithm: Any) -> str:
    return type(algorithm).__name__


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=kinds)
def test_the_size_of_micro_batches_means_nothing(algorithm: Any, tmp_path: Path) -> None:
    """The baseline of a step included: parts of two rows give the numbers of the whole."""
    whole, cut = train(tmp_path / "whole", algorithm), train(tmp_path / "cut", algorithm, micro_batch_tokens=16)
    rows = recorded(tmp_path / "whole")
    for one, other in zip(rows, recorded(tmp_path / "cut"), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)
    for a, b in zip(weights_of(whole), weights_of(cut), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-2)
    assert rows[0]["reward_margin"] == pytest.approx(0.0, abs=1e-5)  # the policy starts as its own reference
    assert rows[0]["accuracy"] == pytest.approx(0.5)
    assert rows[-1]["reward_margin"] > rows[1]["reward_margin"]


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:3], ids=kinds)
def test_a_baseline_is_of_the_whole_step(algorithm: Any, tmp_path: Path) -> None:
    train(tmp_path, algorithm, epochs=10.0)
    baselines = [row["baseline"] for row in recorded(tmp_path)]
    assert baselines[0] == pytest.approx(0.0, abs=1e-5)
    assert max(map(abs, baselines)) > 1e-3
    if isinstance(algorithm, KTO):
        assert min(baselines) >= 0.0


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:3], ids=kinds)
def test_killed_and_run_again_gives_the_same_numbers(
    algorithm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", algorithm, checkpoint_seconds=0.0)
    plain, calls = type(algorithm).loss, 0

    def dying(self: Any, models: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed
        return plain(self, models, batch)

    monkeypatch.setattr(type(algorithm), "loss", dying)
    with pytest.raises(Killed):
        train(tmp_path / "killed", algorithm, checkpoint_seconds=0.0)
    monkeypatch.undo()
    again = train(tmp_path / "killed", algorithm, checkpoint_seconds=0.0)
    assert recorded(tmp_path / "killed") == recorded(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(weights_of(again), weights_of(whole), strict=True))
