"""What a message calls a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import models_for
from test_policy_update import round_for, updater

from gnomon.algorithms.grpo import GRPO
from gnomon.core.batches import Metrics
from gnomon.core.errors import NotFiniteError
from gnomon.core.experience import Experience
from gnomon.training.runtime.checkpoints import describe_prompts


def test_a_batch_is_called_by_its_first_prompts_each_once() -> None:
    assert describe_prompts(["a", "a", "b", "a", "c", "d"]) == "prompts a, b, c …"
    assert describe_prompts(["a"]) == "prompts a …"


def test_a_batch_without_prompts_is_called_that() -> None:
    """As where a program of one's own gives experience without names."""
    assert describe_prompts([]) == "prompts without names"

    class Spoiled(GRPO):
        def loss(self, models: Any, batch: Experience) -> tuple[torch.Tensor, Metrics]:
            loss, metrics = super().loss(models, batch)
            return loss * float("nan"), metrics

    drawn = round_for(GRPO())
    assert drawn.prompt_names == ()
    with pytest.raises(NotFiniteError, match=r"optimizer step 1 is not finite \(prompts without names\)"):
        updater(Spoiled(), models_for(GRPO())).update(drawn, step=1)
