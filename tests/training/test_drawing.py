"""What drawing takes is tried on any model that can be drawn from."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import prompts_of, tiny_policy

from gnomon.models.probe import trusted
from gnomon.rollouts.sampling import Sampling
from gnomon.training.drawing import try_drawing


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("kind", "settings"), [("llama", {}), ("falcon_mamba", {"state_size": 4})], ids=str)
def test_a_model_without_heads_is_tried_too(kind: str, settings: dict[str, Any], words: Any) -> None:
    policy = trusted(tiny_policy(words, kind=kind, **settings))
    found = try_drawing(policy, prompts_of("a", "b c"), Sampling(completions=2, max_tokens=40), [policy])
    assert found.bytes > 0
    assert found.seconds > 0
