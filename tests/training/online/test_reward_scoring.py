"""What the loop makes of a round's scores: the ramp before the length limit costs."""

from __future__ import annotations

import pytest
from function_reward import FunctionReward
from tiny import prompts_of

from gnomon.core.experience import Rollout
from gnomon.core.types import Completion
from gnomon.training.online.reward_scoring import Scorer
from gnomon.training.runtime.distributed import Processes
from gnomon.training.settings import OnlineSettings


def rollout(length: int) -> Rollout:
    (prompt,) = prompts_of("hello")
    ids = tuple(range(length))
    return Rollout(prompt, (1,), Completion(str(length), "text", token_ids=ids), (-1.0,) * length, "end", 0)


def test_long_completions_cost_up_to_one() -> None:
    """Limit 10, buffer 4 (Yu et al. 2025, eq. 13): up to 6 tokens nothing, then a quarter a token, −1 at 10."""
    settings = OnlineSettings(overlong_buffer=4)
    scorer = Scorer(FunctionReward(lambda prompt, text: 2.0, "two"), settings, 10, Processes())
    rollouts, scores, _ = scorer.score([rollout(length) for length in (1, 6, 7, 8, 10)])
    assert len(rollouts) == 5
    assert scores.tolist() == pytest.approx([2.0, 2.0, 1.75, 1.5, 1.0])
