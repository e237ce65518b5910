"""Validation: what is held back, when it ends a stage, and that the best weights are what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loops import LORA, demonstrations, offline, recorded, weights_of
from tiny import tiny_policy

from gnomon.core.errors import ConfigError, Interrupted
from gnomon.core.progress import StopSignal
from gnomon.training.offline.loop import split_rows
from gnomon.training.runtime.checkpoints import BestCheckpoint
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import Validation

WRONG_WAY = {
    "share": 0.3,
    "every": 1,
    "better": "more",
    "patience": 3,
}  # the loss falls, and is called worse for it


def test_a_prompt_is_on_one_side_only() -> None:
    examples = [*demonstrations(), *demonstrations()]
    training, held = split_rows([e.prompt_id for e in examples], Validation(share=0.3), seed=0)
    assert len(held) == 6
    assert not {examples[i].prompt_id for i in held} & {examples[i].prompt_id for i in training}
    assert sorted([*training, *held]) == list(range(20))
    with pytest.raises(ConfigError, match=r"validation\.share holds back 10 of 10 prompts"):
        split_rows([e.prompt_id for e in demonstrations()], Validation(share=0.99), seed=0)


def test_patience_by_hand() -> None:
    """3, 2, 2, 4, 1: after the second best at look 2, two looks without a better one end it."""
    weight = torch.nn.Parameter(torch.zeros(1))
    best = BestCheckpoint(Validation(every=1, patience=2), {"w": weight})
    for step, loss in enumerate((3.0, 2.0, 2.0), start=1):
        weight.data.fill_(step)
        best.update({"loss": loss})
        assert not best.exhausted
    weight.data.fill_(4)
    assert best.update({"loss": 4.0}) == {"validation_loss": 4.0}
    assert best.exhausted
    best.restore_weights()
    assert weight.item() == 2.0
    best.update({"loss": float("nan")})
    assert best.value == 2.0, "what is not finite is never the best"


def test_more_may_be_better_and_an_unknown_metric_is_named() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    best = BestCheckpoint(Validation(metric="accuracy", better="more"), {"w": weight})
    for step, accuracy in enumerate((0.5, 0.9, 0.7), start=1):
        weight.data.fill_(step)
        best.update({"accuracy": accuracy})
    assert (best.value, best.since) == (0.9, 1)
    with pytest.raises(ConfigError, match=r"'accuracy', unknown here; it is one of loss"):
        best.update({"loss": 1.0})


def test_the_loop_ends_when_patience_does_and_leaves_the_best(tmp_path: Path) -> None:
    """With the wrong sign the first look is the best: three more end it, and step 1's weights are left."""
    stopped = offline(tmp_path / "all", epochs=10.0, validation=WRONG_WAY)
    rows = recorded(tmp_path / "all")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["validation_loss"] > rows[-1]["validation_loss"]
    once = TrainedModels(tiny_policy(trainable=LORA))
    best: list[torch.Tensor] = []

    def look(call: int) -> None:
        if call == 3 and not best:  # the loss of step 2 is the third call: training, validation, training
            best.extend(weights_of(once))

    offline(
        tmp_path / "again", before=look, models=once, epochs=10.0, validation=WRONG_WAY, micro_batch_tokens=10_000
    )
    fresh = weights_of(TrainedModels(tiny_policy(trainable=LORA)))
    assert best
    assert all(torch.equal(a, b) for a, b in zip(weights_of(stopped), best, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights_of(stopped), fresh, strict=True))


def test_the_best_outlives_an_interruption(tmp_path: Path) -> None:
    """Stopped after the best, and gone on with a fresh model: the same end and the same weights."""
    settings: dict[str, Any] = {"epochs": 10.0, "validation": WRONG_WAY}
    whole = offline(tmp_path / "whole", **settings)
    stop = StopSignal()

    def pull(call: int) -> None:
        if call == 5:
            stop.requested = True

    with pytest.raises(Interrupted):
        offline(tmp_path / "cut", before=pull, stop=stop, **settings)
    assert len(recorded(tmp_path / "cut")) == 3
    again = offline(tmp_path / "cut", **settings)
    assert [row["step"] for row in recorded(tmp_path / "cut")] == [1, 2, 3, 4]
    assert all(torch.equal(a, b) for a, b in zip(weights_of(again), weights_of(whole), strict=True))
