"""Each algorithm's own arithmetic on numbers that can be followed by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from gnomon.algorithms.bco import BCO
from gnomon.algorithms.cpo import CPO
from gnomon.algorithms.dpo import DPO
from gnomon.algorithms.hinge import Hinge
from gnomon.algorithms.ipo import IPO
from gnomon.algorithms.kto import KTO
from gnomon.algorithms.online_dpo import OnlineDPO
from gnomon.algorithms.orpo import ORPO
from gnomon.algorithms.plackett_luce import PlackettLuce
from gnomon.algorithms.ppo import PPO
from gnomon.algorithms.reinforce import Reinforce
from gnomon.algorithms.reward_model import RewardModeling
from gnomon.algorithms.sft import SFT
from gnomon.algorithms.simpo import SimPO
from gnomon.core.batches import Demonstrations, Labels, Preferences, Rankings, StepTotals, TokenGroups
from gnomon.core.config import validate
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Experience, RunningStats
from gnomon.data.batching import collate_preferences, totals_of
from gnomon.data.encoding import Example, PairIndices
from gnomon.models.roles import RewardOutputs


def stand_in(**answers: Tensor) -> Any:
    """Models that say what they are told to."""

    def say(key: str) -> Any:
        return lambda *args, **kwargs: answers[key]

    return SimpleNamespace(
        policy=SimpleNamespace(
            logprobs=say("logprobs"),
            logprobs_and_entropy=lambda *args, **kwargs: (answers["logprobs"], answers["entropy"]),
        ),
        reward=SimpleNamespace(
            outputs=lambda tokens: RewardOutputs(answers["scores"], {}), device=torch.device("cpu"), parts=None
        ),
        critic=SimpleNamespace(predict=lambda *args: SimpleNamespace(values=answers["values"])),
        temperature=1.0,
    )


def test_sft_is_a_weighted_mean_over_the_steps_tokens() -> None:
    """−(1·(−1) + 1·(−2) + 3·(−0.5)) / 4 tokens of the step = 4.5/4; the third token of row 0 is not trained."""
    groups = TokenGroups.build([[1]], [[2, 3, 4], [5]], [0, 0], [[True, True, False], [True]])
    batch = Demonstrations(groups, torch.tensor([1.0, 3.0]), StepTotals(2, 4))
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
        totals=StepTotals(3, 3),
    )


SCORES = torch.tensor([3.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("settings", "weight", "expected"),
    [
        # 0.563262 + 0.693147 + 1.313262
        ({"center_rewards_coef": 0.0}, 1.0, 2.569671),
        ({"center_rewards_coef": 0.0}, 3.0, 2.569671 + 2 * 0.563262),
        # hard labels: 0.313262 + 0.693147 + 1.313262
        ({"center_rewards_coef": 0.0, "soft_labels": False}, 1.0, 2.319671),
        # a margin of ½ in the first pair: ¾·0.474077 + ¼·0.974077 = 0.599077 instead of 0.563262
        ({"center_rewards_coef": 0.0, "use_margin": True}, 1.0, 2.605486),
        # 0.1·(5² + 4² + 5²)
        ({"center_rewards_coef": 0.1}, 1.0, 2.569671 + 6.6),
    ],
)
def test_reward_modelling_hand_numbers(settings: dict[str, Any], weight: float, expected: float) -> None:
    loss, metrics = RewardModeling(**settings).loss(stand_in(scores=SCORES), pairs(weight))
    assert loss.item() == pytest.approx(expected / 3, abs=1e-5)
    assert metrics["accuracy"].item() == pytest.approx(0.5)  # right, tied, wrong
    assert metrics["reward_margin"].item() == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Δ = 1, 0, −1 with p = ¾, ½, 1 and ties ½, 1, 0. Davidson with ν = 1: logits (Δ/2, −Δ/2, 0);
        # log Z = log(e^½ + e^−½ + 1) = 1.180270; ½·(1.180270 − ½) + ½·1.180270; log 3; 1.180270 + ½
        ({"pair_loss": "davidson", "tie_parameter": 1.0}, 0.930270 + 1.098612 + 1.680270),
        # Rao–Kupper with θ = 2: σ(1 − log 2) = e/(e + 2) = 0.576117, σ(−1 − log 2) = 1/(1 + 2e) = 0.155362;
        # P(tie) = 3·0.576117·0.155362 = 0.268520, and of equal scores 3/9
        (
            {"pair_loss": "rao_kupper", "tie_parameter": 2.0},
            0.5 * 0.551444 + 0.5 * 1.314829 + 1.098612 + 1.861995,
        ),
        # hinge: ¾·0 + ¼·2; ½·1 + ½·1; 2
        ({"pair_loss": "hinge"}, 0.5 + 1.0 + 2.0),
        # ε = 0.1: p becomes 0.7, 0.5, 0.9; 0.7·0.313262 + 0.3·1.313262; log 2; 0.9·1.313262 + 0.1·0.313262
        ({"label_smoothing": 0.1}, 0.613262 + 0.693147 + 1.213262),
        # the majority: the first pair is half a tie and half a win, so a win; the second is a tie
        ({"pair_loss": "davidson", "tie_parameter": 1.0, "soft_labels": False}, 0.680270 + 1.098612 + 1.680270),
    ],
)
def test_reward_modelling_with_other_losses(settings: dict[str, Any], expected: float) -> None:
    batch = replace(pairs(), tie=torch.tensor([0.5, 1.0, 0.0]))
    loss, metrics = RewardModeling(center_rewards_coef=0.0, **settings).loss(stand_in(scores=SCORES), batch)
    assert loss.item() == pytest.approx(expected / 3, abs=1e-5)
    assert metrics.get("tie_parameter") == pytest.approx(settings.get("tie_parameter"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tie_parameter": 1.0}, "tie_parameter has no use with pair_loss bradley_terry"),
        ({"pair_loss": "rao_kupper", "tie_parameter": 1.0}, "θ of rao_kupper is above 1"),
        ({"pair_loss": "davidson", "tie_parameter": 0}, "must be above 0"),
        ({"label_smoothing": 0.5}, "must be at least 0 and below 0.5"),
        ({"pair_loss": "borda"}, "input should be 'bradley_terry'"),
    ],
)
def test_settings_of_the_reward_model_that_cannot_be(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        validate(RewardModeling, settings, "stage 'judge', settings")


def test_each_prompt_weighs_the_same_where_that_is_asked() -> None:
    """Three completions of one prompt make C(3, 2) = 3 pairs of 1/3 each, a pair of another prompt weighs 1.

    (0.563262 + 0.693147 + 1.313262)/3 of the first, 0.313262 (a lead of 1) of the second, the mean of the two;
    over pairs the first prompt would have three quarters.
    """
    three, one = pairs(), torch.tensor([3])
    both = replace(
        three,
        tokens=TokenGroups.build([[1], [9]], [[2], [3], [4], [5], [6]], [0, 0, 0, 1, 1]),
        chosen=torch.cat([three.chosen, one]),
        rejected=torch.cat([three.rejected, one + 1]),
        probability=torch.tensor([0.75, 0.5, 1.0, 1.0]),
        margin=torch.zeros(4),
        weight=torch.ones(4),
        share=torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0]),
        totals=StepTotals(4, 5, examples=2),
    )
    models = stand_in(scores=torch.tensor([3.0, 2.0, 2.0, 1.0, 0.0]))
    even = RewardModeling(center_rewards_coef=0.0, per_prompt=True).loss(models, both)[0].item()
    assert even == pytest.approx((2.569671 / 3 + 0.313262) / 2, abs=1e-5)
    assert RewardModeling(center_rewards_coef=0.0).loss(models, both)[0].item() == pytest.approx(
        (2.569671 + 0.313262) / 4, abs=1e-5
    )


def test_prompts_that_weigh_the_same_may_be_read_one_by_one() -> None:
    """The shares and what they are divided by are the step's, however it is cut."""
    examples = [
        Example(
            "a", (1,), ((2,), (3,), (4,)), (PairIndices(0, 1, 0.75, 0.5, 1.0), PairIndices(2, 0, 1.0, 0.0, 2.0))
        ),
        Example("b", (9,), ((5,), (6,)), (PairIndices(0, 1, 1.0, 0.0, 1.0),)),
    ]
    totals, scores = totals_of(examples), torch.tensor([3.0, 2.0, 2.0, 1.0, 0.0])
    even = RewardModeling(per_prompt=True)
    whole = even.loss(stand_in(scores=scores), collate_preferences(examples, totals))[0]
    parts = [
        even.loss(stand_in(scores=part), collate_preferences([one], totals))[0]
        for one, part in zip(examples, (scores[:3], scores[3:]), strict=True)
    ]
    assert sum(part.item() for part in parts) == pytest.approx(whole.item(), abs=1e-6)


def test_a_tie_stays_a_tie_whatever_the_labels() -> None:
    """p = ½ at a lead of 1: ½·0.313262 + ½·1.313262, for soft labels and for the majority's side."""
    tie = replace(pairs(1.0), probability=torch.tensor([0.5, 0.5, 0.5]))
    for soft in (True, False):
        loss, _ = RewardModeling(center_rewards_coef=0.0, soft_labels=soft).loss(stand_in(scores=SCORES), tie)
        assert loss.item() == pytest.approx((0.813262 + 0.693147 + 0.813262) / 3, abs=1e-5)


def experience() -> Experience:
    """Two completions, of 2 tokens and of 1; all values ½, ratios all 1 but the last one's, 1.5."""
    return Experience(
        tokens=TokenGroups.build([[1]], [[2, 3], [4]], [0, 0]),
        old_logprobs=torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]),
        scores=torch.tensor([1.0, 2.0]),
        finished=torch.tensor([True, True]),
        totals=StepTotals(2, 3),
        values=torch.full((2, 2), 0.5),
        rewards=torch.tensor([[0.0, 1.0], [2.0, 0.0]]),
    )


def test_ppo_credit_by_hand() -> None:
    """λ = ½: A = (0 + 0.25, 0.5 | 1.5), returns (0.75, 1 | 2) whatever whitening does afterwards.

    Whitened: mean 0.75, variance (0.25 + 0.0625 + 0.5625)/3 = 0.291667, standard deviation 0.540062.
    """
    plain = PPO(gae_lambda=0.5, whiten_advantages=False).compute_advantages(experience())
    assert plain.advantages is not None
    torch.testing.assert_close(plain.advantages, torch.tensor([[0.25, 0.5], [1.5, 0.0]]))
    white = PPO(gae_lambda=0.5).compute_advantages(experience())
    assert white.advantages is not None
    expected = torch.tensor([[-0.5, -0.25], [0.75, 0.0]]) / 0.540062
    torch.testing.assert_close(white.advantages, expected, atol=1e-5, rtol=0)
    for credited in (plain, white):
        assert credited.returns is not None
        torch.testing.assert_close(credited.returns, torch.tensor([[0.75, 1.0], [2.0, 0.0]]))


def test_whitened_rewards_keep_their_mean() -> None:
    """Rewards 0, 1, 2 over tokens: variance ⅔, so 1 ∓ 1.224745; λ = 0 shows δ = r + V' − V itself."""
    measured = (
        PPO(gae_lambda=0.0, whiten_rewards=True, whiten_advantages=False)
        .compute_advantages(experience())
        .advantages
    )
    assert measured is not None
    assert measured[0].tolist() == pytest.approx([1 - 1.224745, 1 - 0.5], abs=1e-5)
    assert measured[1].tolist() == pytest.approx([1 + 1.224745 - 0.5, 0.0], abs=1e-5)


def test_ppo_loss_by_hand() -> None:
    """Policy: −(0.25 + 0.5 + 1.2·1.5)/3, the last ratio 1.5 clipped at 1.2.

    Values move from 0.5 to 0.5, 0.6 | 0.9 with returns 0.75, 1, 2: ½·(0.25² + 0.4² + 1.3²)/3, the last
    clipped at 0.7. k3 of the move: (1.5 − 1 − log 1.5)/3.
    """
    credited = PPO(gae_lambda=0.5, whiten_advantages=False).compute_advantages(experience())
    models = stand_in(
        logprobs=credited.old_logprobs + torch.tensor([[0.0, 0.0], [math.log(1.5), 5.0]]),
        entropy=torch.tensor([[0.3, 0.6], [0.9, 50.0]]),
        values=torch.tensor([[0.5, 0.6], [0.9, 80.0]]),
    )
    loss, metrics = PPO(value_weight=0.1).loss(cast(Any, models), credited)
    policy, value = -(0.25 + 0.5 + 1.8) / 3, 0.5 * (0.0625 + 0.16 + 1.69) / 3
    measured = {name: float(metric) for name, metric in metrics.items()}
    assert measured == pytest.approx(
        {
            "loss": policy + 0.1 * value,
            "policy_loss": policy,
            "value_loss": value,
            "entropy": 0.6,
            "clip_fraction": 1 / 3,
            "approx_kl": (0.5 - math.log(1.5)) / 3,
            "prob_abs_diff": 0.5 * math.exp(float(credited.old_logprobs[1, 0])) / 3,
        },
        rel=1e-4,
    )
    assert loss.item() == measured["loss"]


def test_reinforce_by_hand() -> None:
    """γ = ½: returns (½, 1 | 2); in former rounds they averaged ¼ with a deviation of 2.

    Running: (¼, ¾ | 1¾)/2. Critic: less the values of ½, so (0, ½ | 1½)/2; with log-probs −1, −2 | −3 the policy
    loss is −(¼·(−2) + ¾·(−3)), the value loss ½·(0 + 0.4² + 1.1²), over 2 rows of at most 4 tokens.
    """
    drawn = replace(experience(), return_stats=RunningStats(0.25, 2.0, 3), totals=StepTotals(2, 3, limit=4))
    running = Reinforce(gamma=0.5).compute_advantages(drawn)
    assert running.advantages is not None
    torch.testing.assert_close(running.advantages, torch.tensor([[0.125, 0.375], [0.875, 0.0]]))
    plain = Reinforce(gamma=0.5, baseline="none", normalize=False).compute_advantages(drawn)
    assert plain.advantages is not None
    torch.testing.assert_close(plain.advantages, torch.tensor([[0.5, 1.0], [2.0, 0.0]]))
    algorithm = Reinforce(gamma=0.5, baseline="critic", value_weight=0.5)
    assert algorithm.needs == {"critic"}
    with_critic = algorithm.compute_advantages(drawn)
    assert with_critic.advantages is not None
    torch.testing.assert_close(with_critic.advantages, torch.tensor([[0.0, 0.25], [0.75, 0.0]]))
    models = stand_in(
        logprobs=drawn.old_logprobs,
        entropy=torch.zeros(2, 2),
        values=torch.tensor([[0.5, 0.6], [0.9, 80.0]]),
    )
    loss, metrics = algorithm.loss(cast(Any, models), with_critic)
    policy, value = -(0.25 * -2.0 + 0.75 * -3.0) / 8, 0.5 * (0.16 + 1.21) / 8
    assert metrics["policy_loss"].item() == pytest.approx(policy)
    assert metrics["value_loss"].item() == pytest.approx(value)
    assert loss.item() == pytest.approx(policy + 0.5 * value)


def test_online_dpo_by_hand() -> None:
    """β = ½. Leads: 1 − (−1) = 2 in the first group, 0 in the second; the third has no order.

    log(1 + e^−1) = 0.313262 and log 2; right, and tied. Of the step's 6 tokens one was not read.
    """
    batch = Experience(
        tokens=TokenGroups.build([[1]] * 3, [[2], [3], [4], [5], [6]], [0, 0, 1, 1, 2]),
        old_logprobs=torch.full((5, 1), -1.0),
        scores=torch.zeros(5),
        finished=torch.ones(5, dtype=torch.bool),
        totals=StepTotals(6, 6, skipped_tokens=1, groups=2),
        reference_logprobs=torch.tensor([[-2.0], [0.0], [-1.0], [-1.0], [-1.0]]),
        advantages=torch.tensor([[1.0], [-1.0], [-1.0], [1.0], [0.0]]),
    )
    models = stand_in(logprobs=torch.full((5, 1), -1.0), entropy=torch.full((5, 1), 0.7))
    loss, metrics = OnlineDPO(beta=0.5).loss(models, batch)
    assert loss.item() == pytest.approx((0.313262 + 0.693147) / 2, abs=1e-5)
    measured = {name: metrics[name].item() for name in ("accuracy", "reward_margin", "entropy", "approx_kl")}
    assert measured == pytest.approx({"accuracy": 0.75, "reward_margin": 1.0, "entropy": 0.7, "approx_kl": 0.0})


# Of two tokens with log-ratios ½ and ½, and of one token with −1; what stands in the padding is out of the way.
LOGPROBS = torch.tensor([[-1.0, -2.0], [-3.0, 50.0], [-1.0, 50.0]])
REFERENCE = torch.tensor([[-1.5, -2.5], [-2.0, -70.0], [-1.0, 9.0]])
GROUPS = TokenGroups.build([[1]], [[2, 3], [4], [5]], [0, 0, 0])  # log-ratios 1, −1, 0


def pair() -> Preferences:
    """The first completion against the second: three of four raters prefer it, by half a point."""
    return Preferences(
        tokens=GROUPS,
        chosen=torch.tensor([0]),
        rejected=torch.tensor([1]),
        probability=torch.tensor([0.75]),
        margin=torch.tensor([0.5]),
        weight=torch.tensor([3.0]),
        totals=StepTotals(2, 5),
        reference_logprobs=REFERENCE,
    )


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        # lead ½·(1 + 1) = 1: ¾·0.313262 + ¼·1.313262
        (DPO(beta=0.5), 0.563262),
        (DPO(beta=0.5, soft_labels=False), 0.313262),
        # p = ¾·0.9 + ¼·0.1 = 0.7; undone (0.75 − 0.1)/0.8 = 0.8125
        (DPO(beta=0.5, label_smoothing=0.1), 0.613262),
        (DPO(beta=0.5, label_smoothing=0.1, robust=True), 0.500762),
        # lead 1 − ½: ¾·0.474077 + ¼·0.974077
        (DPO(beta=0.5, margin_weight=1.0), 0.599077),
        # lead ½·(½ + ½·½ + 1) = 0.875: ¾·0.348444 + ¼·1.223444
        (DPO(beta=0.5, ld_alpha=0.5), 0.567194),
        # 0.563262 + 2·(¾·1.5 + ¼·3)
        (DPO(beta=0.5, sft_coef=2.0), 0.563262 + 3.75),
        # averages ½ and −1, lead 1.5, goal 1/(2·½) = 1: ¾·0.25 + ¼·6.25
        (IPO(tau=0.5), 1.75),
        # tail ½: the average stays ½, for its weights are 1 and ½ of it too
        (IPO(tau=0.5, ld_alpha=0.5), 1.75),
        # lead ½: ¾·½ + ¼·1.5; log-probs −3 and −3 lead by nothing
        (Hinge(beta=0.25), 0.75),
        (Hinge(beta=0.25, reference=False), 1.0),
        # averages −1.5 and −3, lead 2·1.5 = 3: ¾·log(1 + e^−2.5) + ¼·log(1 + e^3.5)
        (SimPO(beta=2.0, gamma=0.5), 0.75 * 0.0788897 + 0.25 * 3.5297504),
        # log-probs −3 and −3: log 2, and 1.875 nats of imitation
        (CPO(beta=1.0), 0.693147 + 1.875),
        # P = e^−1.5 and e^−3: log odds −1.247517 and −2.948930, lead 1.701413: 0.1·(¾·0.167568 + ¼·1.868981)
        (ORPO(odds_weight=0.1), 0.059292 + 1.875),
    ],
)
def test_pair_losses_by_hand(algorithm: Any, expected: float) -> None:
    """One pair of weight 3 in a step of two."""
    loss, metrics = algorithm.loss(stand_in(logprobs=LOGPROBS), pair())
    assert loss.item() == pytest.approx(1.5 * expected, abs=2e-5)
    assert metrics["nll"].item() == pytest.approx((1.5 if not algorithm.soft_labels else 1.875) / 2)
    if isinstance(algorithm, DPO) and algorithm.ld_alpha == 1:
        measured = {
            name: metrics[name].item()
            for name in ("accuracy", "reward_margin", "chosen_reward", "rejected_reward")
        }
        assert measured == pytest.approx(
            {"accuracy": 0.5, "reward_margin": 0.5, "chosen_reward": 0.25, "rejected_reward": -0.25}
        )
    assert ("chosen_reward" in metrics) == ("reference" in algorithm.needs)


def labelled(sums: dict[str, float]) -> Labels:
    return Labels(
        tokens=GROUPS,
        good=torch.tensor([True, False, True]),
        weight=torch.tensor([1.0, 2.0, 1.0]),
        totals=StepTotals(3, 4, sums=sums),
        reference_logprobs=REFERENCE,
    )


def test_kto_by_hand() -> None:
    """β = ½: rewards ½, −½, 0. Mismatched rewards add up to 0.6 of three, so z = 0.2.

    1 − σ(0.3) = 0.425557 and 1 − σ(−0.2) = 0.549834 for the good, 2·(1 − σ(0.2 + 0.5)) = 2·0.331812 for the bad,
    of weight 2. Only the first and the second stand on their side of 0.2.
    """
    sums = {"good": 2.0, "bad": 1.0, "mismatched": 3.0, "mismatched_rewards": 0.6}
    algorithm = KTO(beta=0.5, bad_weight=2.0)
    loss, metrics = algorithm.loss(stand_in(logprobs=LOGPROBS), labelled(sums))
    assert loss.item() == pytest.approx((0.425557 + 0.549834 + 2 * 2 * 0.331812) / 3, abs=1e-5)
    measured = {name: value.item() for name, value in metrics.items()}
    assert measured == pytest.approx(
        {
            "loss": loss.item(),
            "accuracy": 2 / 3,
            "baseline": 0.2,
            "nll": 1.25,
            "chosen_reward": 0.25,
            "rejected_reward": -0.5,
            "reward_margin": 0.75,
        }
    )
    assert algorithm.baseline({**sums, "mismatched_rewards": -9.0}) == 0.0  # a KL is never negative
    survey = algorithm.step_statistics(stand_in(logprobs=LOGPROBS), labelled({}), labelled({}))
    assert {k: float(v) for k, v in survey.items()} == pytest.approx({**sums, "mismatched_rewards": 0.0})


def test_bco_by_hand() -> None:
    """β = ½: rewards ½, −½, 0; means 0.25 of the good and −0.5 of the bad, δ = −0.125.

    log(1 + e^−0.625) = 0.428701 and log(1 + e^−0.125) = 0.632599 for the good, log(1 + e^−0.375) = 0.523123 for
    the bad, of weight 2.
    """
    models, algorithm = stand_in(logprobs=LOGPROBS), BCO(beta=0.5)
    sums = {name: float(value) for name, value in algorithm.step_statistics(models, labelled({}), None).items()}
    assert sums == pytest.approx({"good": 2, "bad": 1, "good_rewards": 0.5, "bad_rewards": -0.5})
    loss, metrics = algorithm.loss(models, labelled(sums))
    assert loss.item() == pytest.approx((0.428701 + 0.632599 + 2 * 0.523123) / 3, abs=1e-5)
    assert metrics["baseline"].item() == pytest.approx(-0.125)
    assert metrics["accuracy"].item() == pytest.approx(1.0)
    assert algorithm.baseline({"good": 2, "bad": 0, "good_rewards": 1.0, "bad_rewards": 0.0}) == 0.5


def test_plackett_luce_by_hand() -> None:
    """Rewards 1, 0, −1 in order: log(e + 1 + e^−1) − 1 + log(1 + e^−1) = 0.407606 + 0.313262.

    The order −1, 1 of two costs log(1 + e²) = 2.126928 and has weight 2; imitation adds 1.5 and 2·3 nats.
    """
    batch = Rankings(
        tokens=GROUPS,
        order=(torch.tensor([0, 2, 1]), torch.tensor([1, 0])),
        weight=torch.tensor([1.0, 2.0]),
        totals=StepTotals(2, 4),
        reference_logprobs=REFERENCE,
    )
    models = stand_in(logprobs=LOGPROBS)
    loss, metrics = PlackettLuce(beta=1.0).loss(models, batch)
    assert loss.item() == pytest.approx((0.720868 + 2 * 2.126928) / 2, abs=1e-5)
    assert metrics["accuracy"].item() == 0.5
    assert metrics["reward_margin"].item() == 0.0
    more, _ = PlackettLuce(beta=1.0, sft_coef=1.0).loss(models, batch)
    assert more.item() == pytest.approx(loss.item() + 7.5 / 2, abs=1e-5)
