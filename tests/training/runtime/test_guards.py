"""What a message calls a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import models_for
from test_policy_update import learner, round_for

from gnomon.algorithms.grpo import GRPO
from gnomon.core.batches import Metrics
from gnomon.core.errors import NotFiniteError
from gnomon.core.experience import Experience
from gnomon.training.runtime.guards import named


def test_a_batch_is_called_by_its_first_prompts_each_once() -> None:
    assert named(["a", "a", "b", "a", "c", "d"]) == "prompts a, b, c …"
    assert named(["a"]) == "prompts a …"


def test_a_batch_without_prompts_is_called_that() -> None:
    """As where a program of one's own gives experience without names."""
    assert named([]) == "prompts without names"

    class Spoiled(GRPO):
        def loss(self, models: Any, batch: Experience) -> tuple[torch.Tensor, Metrics]:
            loss, metrics = super().loss(models, batch)
            return loss * float("nan"), metrics

    drawn = round_for(GRPO())
    assert drawn.names == ()
    with pytest.raises(NotFiniteError, match=r"optimiser step 1 is not finite \(prompts without names\)"):
        learner(Spoiled(), models_for(GRPO())).update(drawn, step=1)
