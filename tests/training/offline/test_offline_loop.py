"""The offline loop: how much data it walks, in which order, and that micro-batches change nothing."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import offline, recorded, weights_of
from tiny import tiny_policy

from gnomon.core.errors import RunError
from gnomon.models.settings import Trainable
from gnomon.training.offline.loop import batches, planned_steps, rows_to_train_on
from gnomon.training.runtime.checkpoints import newest_step
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OfflineSettings


@pytest.mark.parametrize(
    ("epochs", "size", "steps"),
    [(1.0, 4, 3), (2.0, 5, 4), (0.5, 5, 1), (0.1, 8, 1), (2.6, 4, 7), (3.0, 10, 3), (3.0, 99, 3)],
)
def test_planned_steps_by_hand(epochs: float, size: int, steps: int) -> None:
    """Ten examples: ⌈10·epochs/size⌉, and never none; a step takes ten at most."""
    settings = OfflineSettings(epochs=epochs, batch_size=size)
    assert planned_steps(10, settings) == steps
    assert len(list(batches(10, settings, seed=0))) == steps


def test_every_walk_has_the_planned_steps_and_each_is_full() -> None:
    """Also for epochs next to a whole number: the walk ends by itself, and its last step is no smaller."""
    for count, size in itertools.product((1, 2, 3, 7, 10), (1, 2, 3, 4, 6, 7, 9, 11)):
        for epochs in (0.01, 0.5, 1.0, 1.0 + 2**-50, 1.3, 3.0 - 2**-50, 3.0, 4.7):
            settings = OfflineSettings(epochs=epochs, batch_size=size)
            walk = list(itertools.islice(batches(count, settings, seed=0), 1000))
            steps = max(1, math.ceil(count * epochs / min(size, count)))
            assert [len(batch) for batch in walk] == [min(size, count)] * steps


def test_an_epoch_shows_every_example_once_and_the_next_in_another_order() -> None:
    settings = OfflineSettings(epochs=2, batch_size=5)
    seen = list(itertools.chain.from_iterable(batches(10, settings, seed=0)))
    assert set(Counter(seen[:10]).values()) == set(Counter(seen[10:]).values()) == {1}
    assert seen[:10] != seen[10:]
    assert seen != list(itertools.chain.from_iterable(batches(10, settings, seed=1)))


def test_less_than_an_epoch_visits_as_much_as_its_steps_take() -> None:
    """The examples that need reference log-probs: those of the steps, in the data's order."""
    half = OfflineSettings(epochs=0.5, batch_size=5)
    (step,) = batches(10, half, seed=0)
    assert rows_to_train_on(10, half, 0) == sorted(step)
    assert len(set(step)) == 5
    assert len(rows_to_train_on(10, OfflineSettings(epochs=0.5, batch_size=4), 0)) == 8  # two whole steps
    assert rows_to_train_on(10, OfflineSettings(epochs=1.0, batch_size=3), 0) == list(range(10))


def test_metrics_are_complete_and_the_loss_falls(tmp_path: Path) -> None:
    offline(tmp_path, epochs=10.0)
    rows = recorded(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 26))
    assert set(rows[0]) == {"step", "loss", "grad_norm", "learning_rate", "tokens_seen"}
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.3
    assert rows[0]["learning_rate"] == pytest.approx(0.01)


def test_the_size_of_micro_batches_means_nothing(tmp_path: Path) -> None:
    whole, cut = offline(tmp_path / "whole"), offline(tmp_path / "cut", micro_batch_tokens=8)
    for one, other in zip(recorded(tmp_path / "whole"), recorded(tmp_path / "cut"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    for a, b in zip(weights_of(whole), weights_of(cut), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_a_loss_that_is_not_a_number_ends_the_run_and_spares_the_weights(tmp_path: Path) -> None:
    models = TrainedModels(tiny_policy(trainable=Trainable(rank=4)))
    before: list[Any] = []

    def spoil(n: int) -> None:
        if n == 3:
            before.extend(weights_of(models))
            models.policy.network.lm_head.weight.data[0, 0] = float("nan")

    with pytest.raises(RunError, match=r"step 3 is not finite \(prompts .*; the last checkpoint is of step 2"):
        offline(tmp_path, before=spoil, models=models)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(models), before, strict=True))
    assert len(recorded(tmp_path)) == 2
    assert newest_step(tmp_path / "checkpoints") == 2
