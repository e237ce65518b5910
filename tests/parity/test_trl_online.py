"""Losses on the policy's own samples beside TRL's: from scores through advantages to the gradient.

Both are given the same completions. Scores, the KL, advantages and the old log-probs are then each side's own;
the weights move, so that ratios leave 1 and some are clipped, and the loss is asked.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trl_peer as peer
from tiny import tiny_network
from torch import Tensor

from gnomon.algorithms.cispo import CISPO
from gnomon.algorithms.dapo import DAPO
from gnomon.algorithms.dr_grpo import DrGRPO
from gnomon.algorithms.grpo import GRPO
from gnomon.algorithms.gspo import GSPO
from gnomon.algorithms.rloo import RLOO
from gnomon.core.batches import StepTotals, TokenGroups
from gnomon.core.experience import Experience, KLPenalty
from gnomon.losses.kl import k3, prefix_weight
from gnomon.losses.reduce import sequence_mean
from gnomon.rollouts.experience import apply_kl_penalty

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    trl = pytest.importorskip("trl", reason="TRL is not installed: pip install 'gnomon-rlhf[parity]'")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TEMPERATURE, LIMIT, BETA = 0.8, 7, 0.3
GROUP = [0, 0, 0, 1, 1, 1]
SCORES = [1.0, -0.5, 2.0, 0.3, 0.9, -1.2]
ALL = [[True] * len(c) for c in peer.COMPLETIONS]
TOOLS = [[not (i == 2 and t in (2, 3)) for t in range(len(c))] for i, c in enumerate(peer.COMPLETIONS)]


def tokens(masks: list[list[bool]]) -> TokenGroups:
    return TokenGroups.build(peer.PROMPTS[:2], peer.COMPLETIONS, GROUP, masks)


def move(network: Any, size: float) -> None:
    """The same step for the same network."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight += size * torch.randn(weight.shape, generator=generator)


def score(completions: list[Any], **_: Any) -> list[float]:
    """A reward function as TRL takes it."""
    return SCORES


@dataclass
class Case:
    """An algorithm and the settings under which TRL's trainer is it."""

    algorithm: Any
    settings: dict[str, Any]
    beta: float = 0.0
    masks: Any = None


def saved(folder: Path) -> Any:
    """The tiny policy, from disk: TRL loads its reference from there."""
    network = tiny_network(seed=0)
    network.save_pretrained(folder / "policy")
    network.config._name_or_path = str(folder / "policy")
    return network


def grpo(folder: Path, case: Case, step: float) -> tuple[Any, Tensor, Tensor]:
    """TRL's policy, loss and advantages."""
    masks = case.masks or ALL

    def roll(prompts: list[Any], _: Any) -> dict[str, Any]:
        found = {
            "prompt_ids": [peer.PROMPTS[g] for g in GROUP],
            "completion_ids": peer.COMPLETIONS,
            "logprobs": [[0.0] * len(c) for c in peer.COMPLETIONS],
        }
        return {**found, "env_mask": [[int(kept) for kept in m] for m in masks]}

    network = saved(folder)
    found = peer.trainer(
        trl.GRPOTrainer,
        trl.GRPOConfig,
        folder,
        network,
        [{"prompt": "a"}] * 6,
        {"reward_funcs": score, "rollout_func": roll},
        num_generations=3,
        num_iterations=2,  # so that it keeps the log-probs of the policy that sampled
        beta=case.beta,
        temperature=TEMPERATURE,
        max_completion_length=LIMIT,
        **case.settings,
    )
    return run(found, network, case.beta, step)


def rloo(folder: Path, beta: float, step: float) -> tuple[Any, Tensor, Tensor]:
    """The same of RLOO, which takes completions from nobody: what it draws is put in its place."""
    network = saved(folder)
    found = peer.trainer(
        trl.RLOOTrainer,
        trl.RLOOConfig,
        folder,
        network,
        [{"prompt": "a"}] * 6,
        {"reward_funcs": score},
        num_generations=3,
        beta=beta,
        temperature=TEMPERATURE,
        max_completion_length=LIMIT,
    )
    texts = ["a"] * 6
    found._generate = lambda prompts: ([peer.PROMPTS[g] for g in GROUP], peer.COMPLETIONS, texts)
    return run(found, network, beta, step)


def run(found: Any, network: Any, beta: float, step: float) -> tuple[Any, Tensor, Tensor]:
    """Score, compute advantages, move the policy, and compute the loss."""
    if beta:
        peer.with_reference(found)
    network.train()
    batch = found._generate_and_score_completions([{"prompt": "a"}] * 6)
    move(network, step)
    return network, found.compute_loss(network, batch), batch["advantages"]


def ours(case: Case, step: float, *, kl: str = "loss", limit: float = LIMIT) -> tuple[Any, Tensor, Tensor]:
    """Gnomon's policy, loss and advantages."""
    policy = peer.policy()
    drawn = experience(policy, case.masks)
    drawn = replace(drawn, totals=replace(drawn.totals, limit=limit))
    priced = apply_kl_penalty(drawn, case.beta, placement=kl)
    if kl == "loss" and case.beta:
        priced = replace(priced, penalty=KLPenalty(case.beta, "k3", unbiased_gradient=False))
    batch = case.algorithm.compute_advantages(priced)
    move(policy.network, step)
    loss = case.algorithm.loss(peer.models(policy, TEMPERATURE), batch)[0]
    first = torch.stack([row[m][0] for row, m in zip(batch.advantages, batch.tokens.mask, strict=True)])
    return policy.network, loss, first


CASES = {
    "grpo": Case(GRPO(), {"loss_type": "grpo"}),
    "grpo with KL": Case(GRPO(), {"loss_type": "grpo", "use_bias_correction_kl": False}, beta=BETA),
    "grpo with a tool's tokens": Case(
        GRPO(), {"loss_type": "grpo", "use_bias_correction_kl": False}, beta=BETA, masks=TOOLS
    ),
    "grpo unscaled": Case(GRPO(scale=False), {"loss_type": "grpo", "scale_rewards": "none"}),
    "grpo with dual clip": Case(GRPO(dual_clip=1.25), {"loss_type": "grpo", "delta": 1.25}),
    "bnpo with KL": Case(
        GRPO(aggregate="token", clip_high=0.28),
        {"loss_type": "bnpo", "epsilon_high": 0.28, "use_bias_correction_kl": False},
        beta=BETA,
    ),
    "dr_grpo": Case(DrGRPO(), {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    "dr_grpo with a tool's tokens": Case(
        DrGRPO(), {"loss_type": "dr_grpo", "scale_rewards": "none"}, masks=TOOLS
    ),
    "dapo": Case(DAPO(), {"loss_type": "dapo", "epsilon_high": 0.28}),
    "dapo with a tool's tokens": Case(DAPO(), {"loss_type": "dapo", "epsilon_high": 0.28}, masks=TOOLS),
    "cispo": Case(CISPO(), {"loss_type": "cispo", "epsilon_high": 3.0}),
    "gspo": Case(
        GSPO(clip_low=0.05, clip_high=0.05),
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.05},
    ),
}


@pytest.mark.parametrize("step", [0.0, 0.05], ids=["on policy", "off policy"])
@pytest.mark.parametrize("name", CASES)
def test_group_methods(tmp_path: Path, name: str, step: float) -> None:
    case = CASES[name]
    network, theirs, their_advantages = grpo(tmp_path, case, step)
    mine, found, advantages = ours(case, step)
    torch.testing.assert_close(advantages, their_advantages, atol=1e-4, rtol=1e-4)
    peer.assert_alike((mine, found), (network, theirs))


def test_the_weights_move_far_enough_for_clips_to_matter(tmp_path: Path) -> None:
    narrow, wide = CASES["grpo"], Case(GRPO(clip_low=0.9, clip_high=9.0), {})
    one, loss, _ = ours(narrow, 0.05)
    other, found, _ = ours(wide, 0.05)
    assert peer.gap(peer.gradient(one, loss), peer.gradient(other, found)) > 0.01


def test_the_dual_clip_matters_there() -> None:
    """A bad token's ratio passes 1.25, so that agreement with TRL's `delta` says something."""
    one, loss, _ = ours(CASES["grpo"], 0.05)
    other, found, _ = ours(CASES["grpo with dual clip"], 0.05)
    assert peer.gap(peer.gradient(one, loss), peer.gradient(other, found)) > 0.01


def experience(policy: Any, masks: Any = None, beta: float = 0.0) -> Experience:
    """The completions with old and reference log-probs; the penalty is the exact one."""
    groups = tokens(masks or ALL)
    with torch.no_grad():
        old = policy.logprobs(groups, temperature=TEMPERATURE)
    return Experience(
        tokens=groups,
        old_logprobs=old,
        scores=torch.tensor(SCORES),
        finished=torch.ones(6, dtype=torch.bool),
        totals=StepTotals(6, float(groups.mask.sum()), LIMIT),
        reference_logprobs=peer.reference_logprobs(groups, TEMPERATURE),
        penalty=KLPenalty(beta, "k3", unbiased_gradient=True) if beta else None,
    )


def test_trls_correction_of_the_kl_weighs_each_token_by_its_own_ratio(tmp_path: Path) -> None:
    """Its default. Gnomon's `exact` weighs by the ratio of the text up to the token: another gradient."""
    network, theirs, _ = grpo(tmp_path, Case(GRPO(), {"loss_type": "grpo"}, beta=BETA), 0.0)
    plain, loss, _ = ours(CASES["grpo"], 0.0)
    groups, policy = tokens(ALL), peer.policy()
    logprobs = policy.logprobs(groups, temperature=TEMPERATURE)
    cost = k3(logprobs, peer.reference_logprobs(groups, TEMPERATURE)) * (logprobs - logprobs.detach()).exp()
    priced = sequence_mean(cost, groups.mask, 6)
    found, expected = peer.gradient(plain, loss), peer.gradient(network, theirs)
    token_wise = peer.gradient(policy.network, BETA * priced)
    assert peer.gap({n: found[n] + token_wise[n] for n in found}, expected) < 1e-4
    policy = peer.policy()
    batch = GRPO().compute_advantages(apply_kl_penalty(experience(policy, beta=BETA), BETA, placement="loss"))
    exact = GRPO().loss(peer.models(policy, TEMPERATURE), batch)[0]
    assert peer.gap(peer.gradient(policy.network, exact), expected) > 0.05


def test_the_text_up_to_the_token_is_what_makes_it_the_gradient_of_the_kl() -> None:
    """Two tokens out of three letters, all nine texts enumerated: the first token also decides what comes second.

    Gnomon's weight gives the gradient of the KL to 1e-6. A weight of the token's own ratio, TRL's formula, misses
    it by an eighth of its length here, all of it at the first token.
    """
    generator = torch.Generator().manual_seed(0)
    table, other = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    table.requires_grad_(True)

    def said(logits: Tensor) -> Tensor:
        logprobs = logits.log_softmax(-1)
        return torch.stack(
            [torch.stack([logprobs[0, a], logprobs[1 + a, b]]) for a in range(3) for b in range(3)]
        )

    def slope(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, table)[0]

    logprobs, reference = said(table), said(other)
    chance = logprobs.sum(1).exp()
    exact = slope((chance * (logprobs - reference).sum(1)).sum())
    mask = torch.ones(9, 2, dtype=torch.bool)

    def expected(weight: Tensor) -> Tensor:
        d = said(table) - reference
        return slope((chance.detach() * ((-d).expm1() + d).mul(weight).sum(1)).sum())

    now = said(table)
    mine = expected(prefix_weight(now, mask))
    now = said(table)
    theirs = expected((now - now.detach()).exp())
    torch.testing.assert_close(mine, exact, atol=1e-6, rtol=1e-6)
    assert (theirs - exact).norm() > 0.1 * exact.norm()
    torch.testing.assert_close(theirs[1:], exact[1:], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, BETA])
def test_rloo_on_policy(tmp_path: Path, beta: float) -> None:
    """Scores less the KL, advantages, gradient; with a divisor of 1, as TRL sums over tokens."""
    network, theirs, their_advantages = rloo(tmp_path, beta, 0.0)
    mine, found, advantages = ours(Case(RLOO(), {}, beta=beta), 0.0, kl="reward", limit=1.0)
    torch.testing.assert_close(advantages, their_advantages, atol=1e-4, rtol=1e-4)
    peer.assert_alike((mine, found), (network, theirs), values=False)


def test_rloo_off_policy_clips_tokens_here_and_completions_in_trl(tmp_path: Path) -> None:
    """One ratio a token, as PPO has it, against one a completion: alike only where the weights have not moved."""
    network, theirs, _ = rloo(tmp_path, 0.0, 0.05)
    mine, found, _ = ours(Case(RLOO(), {}), 0.05, kl="reward", limit=1.0)
    assert peer.gap(peer.gradient(mine, found), peer.gradient(network, theirs)) > 0.05


def test_a_group_whose_scores_are_alike_teaches_nothing_in_either(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(globals(), "SCORES", [1.0, 1.0, 1.0, 0.3, 0.9, -1.2])
    _, _, their_advantages = grpo(tmp_path, CASES["grpo"], 0.0)
    _, _, advantages = ours(CASES["grpo"], 0.0)
    assert advantages[:3].tolist() == [0, 0, 0]
    torch.testing.assert_close(advantages, their_advantages, atol=1e-4, rtol=1e-4)
