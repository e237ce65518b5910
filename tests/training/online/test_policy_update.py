"""The optimizer steps of a round: what they divide by, and what they say."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from cases import batch_for, models_for
from torch import Tensor

from gnomon.algorithms.contract import algorithms
from gnomon.algorithms.grpo import GRPO
from gnomon.algorithms.online_dpo import OnlineDPO
from gnomon.algorithms.ppo import PPO
from gnomon.core.experience import Experience, KLPenalty
from gnomon.training.online.policy_update import PolicyUpdater
from gnomon.training.runtime.budget import Budget
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.micro_batching import TokenBudget
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.settings import OnlineSettings

ONLINE = {name: kind() for name, kind in algorithms().items() if kind.consumes is Experience}  # type: ignore[attr-defined]
OF_TOKENS = (
    "entropy",
    "approx_kl",
    "clip_fraction",
    "prob_abs_diff",
    "sampler_trainer_kl",
    "sampler_trainer_prob_abs_diff",
)


def updater(algorithm: Any, models: TrainedModels, **settings: Any) -> PolicyUpdater:
    chosen = OnlineSettings(**{"minibatches": 1, "micro_batch_tokens": 10_000} | settings)
    weights = models.trained.trainable() | (models.critic_model.trainable() if models.critic_model else {})
    optimizer = Optimizer([(weights, 1e-3)], chosen, total_steps=1)
    token_budget, alone = TokenBudget(chosen.micro_batch_tokens), Processes()
    return PolicyUpdater(
        algorithm, models, chosen, optimizer, Budget(chosen, alone), alone, None, token_budget, seed=0
    )


def updated(algorithm: Any, experience: Experience, **settings: Any) -> dict[str, float]:
    """What a round over `experience` reports, on fresh models."""
    return updater(algorithm, models_for(algorithm), **settings).update(experience, step=1)


def round_for(algorithm: Any, *, on_policy: bool = False) -> Experience:
    """Two prompts' completions, all with an advantage, the KL without a price."""
    experience: Experience = batch_for(algorithm, models_for(algorithm), on_policy=on_policy)
    assert experience.advantages is not None
    sides = experience.advantages if isinstance(algorithm, OnlineDPO) else experience.advantages + 0.37
    experience = replace(experience, advantages=sides.masked_fill(~experience.tokens.mask, 0.0), penalty=None)
    return experience.select([0, 2, 5, 1, 4], experience.totals)


def with_alike(experience: Experience, times: int) -> Experience:
    """Besides, `times` as many groups of the same tokens without an advantage."""
    n, groups = len(experience.tokens), len(experience.tokens.prompts)
    tokens = experience.tokens
    more = replace(
        tokens,
        prompts=tokens.prompts * (times + 1),
        completions=tokens.completions * (times + 1),
        group=torch.cat([tokens.group + i * groups for i in range(times + 1)]),
        masks=tokens.masks * (times + 1),
    )
    changed: dict[str, Any] = {
        f.name: torch.cat([value] * (times + 1))
        for f in fields(experience)
        if isinstance(value := getattr(experience, f.name), Tensor)
    }
    changed["advantages"][n:] = 0.0
    return replace(experience, tokens=more, **changed)


@pytest.mark.parametrize("name", ONLINE)
def test_groups_that_are_alike_change_no_metric_of_tokens(name: str) -> None:
    """Nor, where pairs are compared, any other; the losses of the rest count them as zeros."""
    algorithm = ONLINE[name]
    alone = updated(algorithm, round_for(algorithm))
    among = updated(algorithm, with_alike(round_for(algorithm), 3))
    names = list(alone) if isinstance(algorithm, OnlineDPO) else OF_TOKENS
    assert alone["entropy"] > 0.1
    assert alone["prob_abs_diff"] > 1e-3
    for metric in (n for n in names if n in alone):
        if metric == "clip_fraction" and "critic" in algorithm.needs:
            continue  # nothing is left out there: a critic learns from every completion
        assert among[metric] == pytest.approx(alone[metric], rel=1e-4), metric
    if "critic" not in algorithm.needs and not isinstance(algorithm, OnlineDPO):
        assert among["policy_loss"] == pytest.approx(alone["policy_loss"] / 4, rel=1e-4)


@pytest.mark.parametrize("name", ONLINE)
def test_however_it_is_cut_the_metrics_are_the_same(name: str) -> None:
    algorithm = ONLINE[name]
    whole = updated(algorithm, with_alike(round_for(algorithm), 1))
    cut = updated(algorithm, with_alike(round_for(algorithm), 1), micro_batch_tokens=1)
    assert cut == pytest.approx(whole, rel=1e-3, abs=1e-5)


def test_online_dpo_starts_from_log_2_however_many_are_drawn() -> None:
    """Policy and reference agree: a pair costs log 2, whether or not all completions are read."""
    algorithm = OnlineDPO()
    experience = round_for(algorithm, on_policy=True)
    experience = with_alike(replace(experience, reference_logprobs=experience.old_logprobs), 1)
    for drawn in (experience, replace(experience, penalty=KLPenalty(0.1, "k3"))):
        metrics = updated(algorithm, drawn)
        assert metrics["loss"] == pytest.approx(0.693147, abs=1e-5)
        assert metrics["reward_margin"] == pytest.approx(0.0, abs=1e-5)


def test_a_sampler_that_disagrees_raises_the_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    """The gap is a little above the limit; groups that are alike do not thin it out, wherever they stand."""
    experience = round_for(GRPO(), on_policy=True)
    updated(GRPO(), with_alike(experience, 7))
    assert "disagree" not in capsys.readouterr().err
    moved = replace(experience, old_logprobs=experience.old_logprobs + 0.06)
    for count in (2, 3, 4, 5):
        metrics = updated(GRPO(), with_alike(moved, 7), minibatches=count)
        assert metrics["sampler_trainer_kl"] > 1e-3
        assert "sampler and trainer disagree" in capsys.readouterr().err


def without_advantage(algorithm: Any, penalty: KLPenalty | None = None) -> Experience:
    """A round whose groups are all alike, after the policy has moved from its reference."""
    experience = round_for(algorithm)
    assert experience.advantages is not None
    flat = replace(experience, advantages=torch.zeros_like(experience.advantages), penalty=penalty)
    return replace(flat, reference_logprobs=experience.old_logprobs - 0.3)


def test_completions_without_an_advantage_still_pay_for_the_kl() -> None:
    """Where nothing else is to be learned a step is saved; a penalty in the loss is something to learn."""
    idle = updated(GRPO(), without_advantage(GRPO()))
    assert idle == {"skipped_updates": 1.0}
    priced = updated(GRPO(), without_advantage(GRPO(), KLPenalty(0.1, "k3")))
    assert priced["skipped_updates"] == 0
    assert priced["grad_norm"] > 1e-4


def test_completions_without_an_advantage_still_teach_the_critic() -> None:
    metrics = updated(PPO(), without_advantage(PPO()))
    assert metrics["skipped_updates"] == 0
    assert metrics["value_loss"] > 0
    assert metrics["grad_norm"] > 1e-4
