"""A tie parameter that is learned with the model reaches the optimum of its votes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from loops import recorded
from tiny import tiny_reward_model

from gnomon.algorithms.reward_model import RewardModeling
from gnomon.core.progress import StopSignal
from gnomon.data.encoding import Example, PairIndices
from gnomon.models.score_parts.files import add_parts
from gnomon.models.settings import Trainable
from gnomon.training.offline.loop import OfflineLoop
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OfflineSettings


def test_shares_of_votes_are_reached(tmp_path: Path) -> None:
    """48 % for the first, 12 % for the second, 40 % ties: Δ = log 4 and ν = 0.4/√(0.48·0.12) = 5/3."""
    prompts = torch.randint(0, 40, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    pair = (PairIndices(0, 1, 0.68, 0.0, 1.0, 0.4),)
    examples = [Example(f"p{n}", (token,), ((41, 50), (42, 51)), pair) for n, token in enumerate(prompts)]
    algorithm = RewardModeling(pair_loss="davidson", center_rewards_coef=0.0)
    model = tiny_reward_model(trainable=Trainable(rank=4))
    add_parts(model.network, algorithm.parts(), "tiny")
    OfflineLoop(
        algorithm=algorithm,
        models=TrainedModels(model),
        examples=examples,
        settings=OfflineSettings(epochs=4, batch_size=12, learning_rate=5e-4),
        folder=tmp_path,
        seed=1,
        stop=StopSignal(),
        label="ties",
    ).run()
    rows = recorded(tmp_path)
    assert rows[0]["tie_parameter"] == pytest.approx(1.0)
    assert rows[-1]["tie_parameter"] == pytest.approx(5 / 3, abs=0.15)
    assert rows[-1]["reward_margin"] == pytest.approx(math.log(4), abs=0.15)
