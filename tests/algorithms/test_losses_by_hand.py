"""Each algorithm's own arithmetic on numbers that can be followed by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from gnomon.algorithms.ppo import PPO
from gnomon.algorithms.reward_model import RewardModelling
from gnomon.algorithms.sft import SFT
from gnomon.core.batches import Demonstrations, Experience, Preferences, TokenGroups, Totals


def stand_in(**answers: Tensor) -> Any:
    """Models that say what they are told to."""

    def say(key: str) -> Any:
        return lambda *args, **kwargs: answers[key]

    return SimpleNamespace(
        policy=SimpleNamespace(
            logprobs=say("logprobs"),
            logprobs_and_entropy=lambda *args, **kwargs: (answers["logprobs"], answers["entropy"]),
        ),
        reward=SimpleNamespace(scores=say("scores")),
        critic=SimpleNamespace(answer=lambda *args: SimpleNamespace(values=answers["values"])),
        temperature=1.0,
    )


def test_sft_is_a_weighted_mean_over_the_steps_tokens() -> None:
    """−(1·(−1) + 1·(−2) + 3·(−0.5)) / 4 tokens of the step = 4.5/4; the third token of row 0 is not trained."""
    groups = TokenGroups.build([[1]], [[2, 3, 4], [5]], [0, 0], [[True, True, False], [True]])
    batch = Demonstrations(groups, torch.tensor([1.0, 3.0]), Totals(2, 4))
    models = stand_in(logprobs=torch.tensor([[-1.0, -2.0, -9.0], [-0.5, -7.0, -7.0]]))
    assert SFT().loss(models, batch)[0].item() == pytest.approx(4.5 / 4)


def pairs(weight: float = 1.0) -> Preferences:
    """Three pairs of the scores 3, 2, 2: a lead of 1, a tie, a lead of −1."""
    return Preferences(
        tokens=TokenGroups.build([[1]], [[2], [3], [4]], [0, 0, 0]),
        chosen=torch.tensor([0, 1, 2]),
        rejected=torch.tensor([1, 2, 0]),
        probability=torch.tensor([0.75, 0.5, 1.0]),
        margin=torch.tensor([0.5, 0.0, 0.0]),
        weight=torch.tensor([weight, 1.0, 1.0]),
        totals=Totals(3, 3),
    )


SCORES = torch.tensor([3.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("settings", "weight", "expected"),
    [
        # 0.563262 + 0.693147 + 1.313262
        ({"centring": 0.0}, 1.0, 2.569671),
        ({"centring": 0.0}, 3.0, 2.569671 + 2 * 0.563262),
        # hard labels: 0.313262 + 0.693147 + 1.313262
        ({"centring": 0.0, "soft_labels": False}, 1.0, 2.319671),
        # a margin of ½ in the first pair: ¾·0.474077 + ¼·0.974077 = 0.599077 instead of 0.563262
        ({"centring": 0.0, "use_margin": True}, 1.0, 2.605486),
        # 0.1·(5² + 4² + 5²)
        ({"centring": 0.1}, 1.0, 2.569671 + 6.6),
    ],
)
def test_reward_modelling_hand_numbers(settings: dict[str, Any], weight: float, expected: float) -> None:
    loss, metrics = RewardModelling(**settings).loss(stand_in(scores=SCORES), pairs(weight))
    assert loss.item() == pytest.approx(expected / 3, abs=1e-5)
    assert metrics["accuracy"].item() == pytest.approx(0.5)  # right, tied, wrong
    assert metrics["lead"].item() == pytest.approx(0.0)


def experience() -> Experience:
    """Two completions, of 2 tokens and of 1; all values ½, ratios all 1 but the last one's, 1.5."""
    return Experience(
        tokens=TokenGroups.build([[1]], [[2, 3], [4]], [0, 0]),
        logprobs=torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]),
        scores=torch.tensor([1.0, 2.0]),
        finished=torch.tensor([True, True]),
        totals=Totals(2, 3),
        values=torch.full((2, 2), 0.5),
        rewards=torch.tensor([[0.0, 1.0], [2.0, 0.0]]),
    )


def test_ppo_credit_by_hand() -> None:
    """λ = ½: A = (0 + 0.25, 0.5 | 1.5), returns (0.75, 1 | 2) whatever whitening does afterwards.

    Whitened: mean 0.75, variance (0.25 + 0.0625 + 0.5625)/3 = 0.291667, standard deviation 0.540062.
    """
    plain = PPO(gae_lambda=0.5, whiten_advantages=False).credit(experience())
    assert plain.advantages is not None
    torch.testing.assert_close(plain.advantages, torch.tensor([[0.25, 0.5], [1.5, 0.0]]))
    white = PPO(gae_lambda=0.5).credit(experience())
    assert white.advantages is not None
    expected = torch.tensor([[-0.5, -0.25], [0.75, 0.0]]) / 0.540062
    torch.testing.assert_close(white.advantages, expected, atol=1e-5, rtol=0)
    for credited in (plain, white):
        assert credited.returns is not None
        torch.testing.assert_close(credited.returns, torch.tensor([[0.75, 1.0], [2.0, 0.0]]))


def test_whitened_rewards_keep_their_mean() -> None:
    """Rewards 0, 1, 2 over tokens: variance ⅔, so 1 ∓ 1.224745; λ = 0 shows δ = r + V' − V itself."""
    found = PPO(gae_lambda=0.0, whiten_rewards=True, whiten_advantages=False).credit(experience()).advantages
    assert found is not None
    assert found[0].tolist() == pytest.approx([1 - 1.224745, 1 - 0.5], abs=1e-5)
    assert found[1].tolist() == pytest.approx([1 + 1.224745 - 0.5, 0.0], abs=1e-5)


def test_ppo_loss_by_hand() -> None:
    """Policy: −(0.25 + 0.5 + 1.2·1.5)/3, the last ratio 1.5 clipped at 1.2.

    Values move from 0.5 to 0.5, 0.6 | 0.9 with returns 0.75, 1, 2: ½·(0.25² + 0.4² + 1.3²)/3, the last
    clipped at 0.7. k3 of the move: (1.5 − 1 − log 1.5)/3.
    """
    credited = PPO(gae_lambda=0.5, whiten_advantages=False).credit(experience())
    models = stand_in(
        logprobs=credited.logprobs + torch.tensor([[0.0, 0.0], [math.log(1.5), 5.0]]),
        entropy=torch.tensor([[0.3, 0.6], [0.9, 50.0]]),
        values=torch.tensor([[0.5, 0.6], [0.9, 80.0]]),
    )
    loss, metrics = PPO(value_weight=0.1).loss(cast(Any, models), credited)
    policy, value = -(0.25 + 0.5 + 1.8) / 3, 0.5 * (0.0625 + 0.16 + 1.69) / 3
    found = {name: float(metric) for name, metric in metrics.items()}
    assert found == pytest.approx(
        {
            "loss": policy + 0.1 * value,
            "policy_loss": policy,
            "value_loss": value,
            "entropy": 0.6,
            "clip_fraction": 1 / 3,
            "approx_kl": (0.5 - math.log(1.5)) / 3,
            "probability_gap": 0.5 * math.exp(float(credited.logprobs[1, 0])) / 3,
        },
        rel=1e-4,
    )
    assert loss.item() == found["loss"]
