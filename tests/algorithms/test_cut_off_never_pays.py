"""Being cut off never pays: where ended answers score below the penalty, no algorithm learns not to end.

Two letters and an end, at most two tokens: from the uniform policy four in nine answers are cut off. Answers that
end score about −5, those that are cut off 0 by the reward's own word, and the penalty is −1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from worlds import TableCritic, TableModels, TablePolicy, World, experience_of

from gnomon.algorithms.contract import algorithms
from gnomon.core.experience import Experience, RunningStats
from gnomon.rollouts.experience import cap_truncated

WORLD = World(letters=2, longest=2, prompts=1)
FINISHED = torch.tensor([c[-1] == WORLD.end for _, c in WORLD.rows])
SCORES = torch.tensor([-5 - 0.01 * len(c) if c[-1] == WORLD.end else 0.0 for _, c in WORLD.rows]).double()
ONLINE = {name: kind for name, kind in algorithms().items() if kind.consumes is Experience}  # type: ignore[attr-defined]
Rule = Callable[[Tensor, Tensor, float], Tensor]


def share_cut_off(policy: TablePolicy) -> float:
    return float(policy.probabilities().flatten()[~FINISHED].sum())


def trained(algorithm: Any, rule: Rule) -> TablePolicy:
    """30 rounds of 64 samples, K = 4, plain steps of one length, whatever the algorithm's scale."""
    torch.manual_seed(1)
    policy, reference = TablePolicy(WORLD, seed=0, scale=0.0), TablePolicy(WORLD, seed=0, scale=0.0)
    values = torch.full((len(WORLD.states),), -5.0, dtype=torch.float64)
    models = TableModels(policy, TableCritic(WORLD, values))
    group = [g for g in range(16) for _ in range(4)]
    for _ in range(30):
        drawn = torch.multinomial(policy.probabilities()[0], 64, replacement=True).tolist()
        experience = experience_of(drawn, models, reference, SCORES, 0.0, group=group)
        scores = rule(experience.scores, experience.finished, -1.0)
        last = experience.rewards.clone().zero_() if experience.rewards is not None else None
        assert last is not None
        last[torch.arange(64), experience.tokens.lengths - 1] = scores
        experience = replace(experience, scores=scores, rewards=last, return_stats=RunningStats(-5.0, 1.0, 1))
        batch = algorithm.compute_advantages(experience)
        loss, _ = algorithm.loss(cast(Any, models), batch)
        (step,) = torch.autograd.grad(loss, policy.table, allow_unused=True)
        if float(step.norm()):
            policy.table.data -= 0.15 * step / step.norm()
    return policy


@pytest.mark.parametrize("name", sorted(ONLINE))
def test_the_share_of_unfinished_answers_does_not_rise(name: str) -> None:
    assert share_cut_off(TablePolicy(WORLD, seed=0, scale=0.0)) == pytest.approx(4 / 9)
    assert share_cut_off(trained(ONLINE[name](), cap_truncated)) < 4 / 9


@pytest.mark.parametrize("name", ["rloo", "ppo", "online_dpo"])
def test_a_penalty_in_place_of_the_score_teaches_never_to_end(name: str) -> None:
    """The world is one that tempts: the rule of Ziegler et al. (2019) goes wrong in it."""

    def replaced(scores: Tensor, finished: Tensor, penalty: float) -> Tensor:
        return torch.where(finished, scores, penalty)

    assert share_cut_off(trained(ONLINE[name](), replaced)) > 0.9
